package compose

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Report lists what became of every field in the files: the findings, and a row of the table for each field without one.
func (p *Project) Report(findings []Finding) []Finding {
	r := &reporter{p: p, seen: map[string]bool{}, out: slices.Clone(findings)}
	for _, f := range findings {
		r.seen[f.Service+"\x00"+f.Field] = true
	}
	for _, name := range p.compose.ServiceNames() {
		s := p.compose.Services[name]
		setFields(reflect.ValueOf(s), "", nil, func(table string, file []string) bool {
			return table != "name" && r.add(serviceTable, table, name, file)
		})
	}
	top := p.needed()
	for name, v := range map[string]any{"networks": top.Networks, "volumes": top.Volumes, "configs": top.Configs, "secrets": top.Secrets} {
		m := reflect.ValueOf(v)
		for _, k := range m.MapKeys() {
			if r.add(topTable, name, "", []string{name, k.String()}) {
				setFields(m.MapIndex(k), name, []string{name, k.String()}, func(table string, file []string) bool {
					return r.add(topTable, table, "", file)
				})
			}
		}
	}
	return tidy(r.out)
}

// reporter collects what a report has.
type reporter struct {
	p    *Project
	seen map[string]bool
	out  []Finding
}

// add reports a field that was written in a file and has no finding, and reports whether those below it matter.
func (r *reporter) add(table map[string]row, path, service string, file []string) bool {
	row, ok := rowOf(table, path)
	if !ok || row.path != path {
		return ok
	}
	full, field := file, strings.Join(file, ".")
	if service != "" {
		full = append([]string{"services", service}, file...)
	}
	at := r.p.sources.find("", full...)
	key := service + "\x00" + field
	if !at.whole || r.seen[key] {
		return !row.ends()
	}
	r.seen[key] = true
	r.out = append(r.out, Finding{File: at.file, Line: at.line, Level: cmp.Or(row.level, LevelInfo), Service: service, Field: field, Outcome: row.outcome, Reason: row.text})
	return !row.ends()
}

// ReportJSON is a report as a file: one object with the number of fields of each outcome, and the fields in the files' order.
func ReportJSON(findings []Finding) ([]byte, error) {
	totals := map[Outcome]int{Converted: 0, Approximated: 0, Dropped: 0, Refused: 0}
	for _, f := range findings {
		totals[f.Outcome]++
	}
	if findings == nil {
		findings = []Finding{}
	}
	data, err := json.MarshalIndent(struct {
		Totals map[Outcome]int `json:"totals"`
		Fields []Finding       `json:"fields"`
	}{totals, findings}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	return append(data, '\n'), nil
}
