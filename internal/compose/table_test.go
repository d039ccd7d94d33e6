package compose

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// notWritten are fields of compose-go's types that no file can have.
var notWritten = []string{"name"}

// fieldsOf lists the paths of all fields below a type, down to where a row covers everything below.
func fieldsOf(t reflect.Type, path string, rows map[string]row, seen []reflect.Type, out map[string]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(seen, t) {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, inline := fieldName(f)
		if inline {
			fieldsOf(f.Type, path, rows, append(seen, t), out)
		}
		if name == "" {
			continue
		}
		p := strings.TrimPrefix(path+"."+name, ".")
		out[p] = true
		if r, ok := rows[strings.TrimPrefix(p, "pre_start.")]; !ok || !r.ends() {
			fieldsOf(f.Type, p, rows, append(seen, t), out)
		}
	}
}

func checkTable(t *testing.T, fields map[string]bool, rows map[string]row) {
	t.Helper()
	for f := range fields {
		if inner, ok := strings.CutPrefix(f, "pre_start."); ok {
			f = inner // The container of a hook has the rows of a service's.
		}
		if slices.Contains(notWritten, f) || f == "per_replica" {
			continue
		}
		if _, ok := rows[f]; ok {
			continue
		}
		t.Errorf("compose-go has the field %s, and the table has no row for it", f)
	}
	for p, r := range rows {
		if !fields[p] && !slices.Contains([]string{"name", "services", "include"}, p) {
			t.Errorf("the table has a row for %s, and compose-go has no such field", p)
		}
		if r.text == "" || r.outcome == "" {
			t.Errorf("the row %s says nothing", p)
		}
		if (r.outcome == Refused) != (r.level == LevelRefused) {
			t.Errorf("%s is %s at level %q", p, r.outcome, r.level)
		}
	}
}

func TestTableNamesEveryField(t *testing.T) {
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[types.ServiceConfig](), "", serviceTable, nil, fields)
	if len(fields) < 150 {
		t.Fatalf("reflection found %d fields", len(fields))
	}
	checkTable(t, fields, serviceTable)
}

func TestTableNamesEveryFieldBesideServices(t *testing.T) {
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[types.Project](), "", map[string]row{"services": {outcome: Dropped}, "networks.ipam": {outcome: Dropped}, "jobs": {outcome: Dropped}, "models": {outcome: Dropped}}, nil, fields)
	checkTable(t, fields, topTable)
}

func TestTableHasEachFieldOnce(t *testing.T) {
	if len(serviceRows) != len(serviceTable) || len(topRows) != len(topTable) {
		t.Errorf("%d rows for %d fields of services, %d for %d beside them", len(serviceRows), len(serviceTable), len(topRows), len(topTable))
	}
}

// TestSetFieldsAreNeverSilent sets each field by itself. What the table drops or refuses makes a finding, with that text.
func TestSetFieldsAreNeverSilent(t *testing.T) {
	for _, r := range serviceRows {
		if r.level == "" || r.path == "ports.host_ip" {
			continue
		}
		s := types.ServiceConfig{Name: "x"}
		if !setField(reflect.ValueOf(&s).Elem(), strings.Split(r.path, ".")) {
			t.Errorf("%s cannot be set", r.path)
			continue
		}
		c := newConverter(&Project{compose: &types.Project{}, sources: sources{files: []*source{{name: "f"}}}}, Options{})
		c.checkService(s)
		if !slices.ContainsFunc(c.findings.list, func(f Finding) bool { return f.Reason == r.text && f.Level == r.level }) && r.path != "depends_on.restart" {
			t.Errorf("%s is set, and the findings are %v", r.path, c.findings.list)
		}
	}
}

// setField gives the field at a path a value that is not the zero value.
func setField(v reflect.Value, path []string) bool {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return setField(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return len(path) == 0 || setField(v.Index(0), path)
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		ok := len(path) == 0 || setField(e, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), e)
		return ok
	case reflect.Struct:
		for i := range v.NumField() {
			name, inline := fieldName(v.Type().Field(i))
			if inline && setField(v.Field(i), path) {
				return true
			}
			if len(path) > 0 && name == path[0] {
				return setField(v.Field(i), path[1:])
			}
			if len(path) == 0 && name != "" && setField(v.Field(i), nil) {
				return true
			}
		}
		return false
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	default:
		return false
	}
	return len(path) == 0
}

const referencePage = "../../docs/compose.md"

// TestReferencePage compares the reference page with the table.
func TestReferencePage(t *testing.T) {
	got := page()
	if *update {
		if err := os.WriteFile(referencePage, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is stale: go generate ./internal/compose", referencePage)
	}
}
