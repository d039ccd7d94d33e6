package compose

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// field is one entry of a mapping.
type field struct {
	key   string
	value *yaml.Node
}

// follow is the node that n represents.
func (p *plain) follow(n *yaml.Node) *yaml.Node {
	p.visits++
	need(p.visits < maxPlainVisits)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
		need(n != nil && n.Kind != yaml.AliasNode)
	}
	need(n.Style&yaml.TaggedStyle == 0)
	return n
}

// checkMerges gives up where an anchor is used again below a mapping that merges it: compose-go takes that for a circle. Above are the
// anchors' nodes that are merged around n.
func checkMerges(n *yaml.Node, above []*yaml.Node) {
	need(n.Kind != yaml.AliasNode || !slices.Contains(above, n.Alias))
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != "<<" {
				continue
			}
			above = above[:len(above):len(above)]
			for _, m := range append([]*yaml.Node{n.Content[i+1]}, n.Content[i+1].Content...) {
				if m.Kind == yaml.AliasNode {
					above = append(above, m.Alias)
				}
			}
		}
	}
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 && n.Content[i-1].Value != "<<" {
			checkMerges(c, above)
		}
	}
}

// fields are the entries of a mapping in their order, then those that it merges in.
func (p *plain) fields(n *yaml.Node) []field {
	n = p.follow(n)
	need(n.Kind == yaml.MappingNode && n.Tag == "!!map")
	out := make([]field, 0, len(n.Content)/2)
	seen := make(map[string]bool, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		need(k.Kind == yaml.ScalarNode && k.Style&yaml.TaggedStyle == 0 && !seen[k.Value])
		seen[k.Value] = true
		if k.Tag == "!!merge" {
			merges = []*yaml.Node{v}
			continue
		}
		need(k.Tag == "!!str" && k.Value != "<<")
		out = append(out, field{k.Value, v})
	}
	if merges != nil && merges[0].Kind == yaml.SequenceNode {
		merges = merges[0].Content
	}
	for _, m := range merges {
		for _, f := range p.fields(m) {
			if !seen[f.key] {
				seen[f.key] = true
				out = append(out, f)
			}
		}
	}
	return out
}

func (p *plain) has(n *yaml.Node, key string) bool {
	return slices.ContainsFunc(p.fields(n), func(f field) bool { return f.key == key })
}

// list are the items of a list.
func (p *plain) list(n *yaml.Node) []*yaml.Node {
	n = p.follow(n)
	need(n.Kind == yaml.SequenceNode && n.Tag == "!!seq")
	return n.Content
}

func (p *plain) str(n *yaml.Node) string {
	n = p.follow(n)
	need(n.Kind == yaml.ScalarNode && n.Tag == "!!str")
	return p.text(n.Value)
}

// any is a value as compose-go has it after interpolation.
func (p *plain) any(n *yaml.Node) any {
	n = p.follow(n)
	switch n.Kind {
	case yaml.ScalarNode:
		return p.scalar(n)
	case yaml.SequenceNode:
		need(n.Tag == "!!seq")
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = p.any(c)
		}
		return out
	case yaml.MappingNode:
		out := map[string]any{}
		for _, f := range p.fields(n) {
			out[f.key] = p.any(f.value)
		}
		return out
	}
	giveUp()
	return nil
}

func (p *plain) scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!str":
		return p.text(n.Value)
	case "!!null":
		return nil
	case "!!int", "!!bool", "!!float":
		if i, err := strconv.Atoi(n.Value); err == nil && n.Value == strconv.Itoa(i) {
			return i
		}
		var v any
		need(n.Decode(&v) == nil)
		return v
	}
	giveUp()
	return nil
}

// decoder is how types of compose-go read values that can be written in several ways.
type decoder interface{ DecodeMapstructure(value any) error }

// shapes says what such a type may be written as; more is refused by the schema, or means something else to compose-go.
var shapes = map[reflect.Type]func(any) bool{
	reflect.TypeFor[types.Duration]():           isText,
	reflect.TypeFor[types.UnitBytes]():          func(v any) bool { return isText(v) || isInt(v) },
	reflect.TypeFor[types.NanoCPUs]():           func(v any) bool { return isText(v) || isInt(v) || isFloat(v) },
	reflect.TypeFor[types.FileMode]():           func(v any) bool { return isText(v) || isInt(v) },
	reflect.TypeFor[types.DeviceCount]():        func(v any) bool { return isInt(v) && v != 0 || v == "all" },
	reflect.TypeFor[types.ShellCommand]():       func(v any) bool { return isText(v) || isTexts(v) },
	reflect.TypeFor[types.HealthCheckTest]():    func(v any) bool { return isText(v) || isTexts(v) },
	reflect.TypeFor[types.StringList]():         func(v any) bool { return isText(v) || isUnique(v, isText) },
	reflect.TypeFor[types.StringOrNumberList](): func(v any) bool { return isUnique(v, func(v any) bool { return isText(v) || isInt(v) }) },
	reflect.TypeFor[types.Labels]():             isPairs,
	reflect.TypeFor[types.Mapping]():            isPairs,
	reflect.TypeFor[types.MappingWithEquals]():  isPairs,
	reflect.TypeFor[types.Options]():            func(v any) bool { return isMap(v, func(v any) bool { return isText(v) || isInt(v) }) },
	reflect.TypeFor[types.HostsList](): func(v any) bool {
		return isMap(v, func(v any) bool { return isText(v) || isTexts(v) }) || isUnique(v, isText)
	},
}

func isText(v any) bool  { _, ok := v.(string); return ok }
func isInt(v any) bool   { _, ok := v.(int); return ok }
func isFloat(v any) bool { _, ok := v.(float64); return ok }
func isBool(v any) bool  { _, ok := v.(bool); return ok }

func isScalar(v any) bool { return v == nil || isText(v) || isInt(v) || isFloat(v) || isBool(v) }

// isTexts reports whether v is a list of strings.
func isTexts(v any) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(e any) bool { return !isText(e) })
}

// isUnique reports whether v is a list of such items, each once; of what stands before = as well.
func isUnique(v any, is func(any) bool) bool {
	list, ok := v.([]any)
	seen := map[string]bool{}
	for _, e := range list {
		key, _, _ := strings.Cut(fmt.Sprint(e), "=")
		if !is(e) || seen[key] || key == "" {
			return false
		}
		seen[key] = true
	}
	return ok
}

// isMap reports whether v is a mapping to such values. Keys that begin with x- are extensions to compose-go.
func isMap(v any, is func(any) bool) bool {
	m, ok := v.(map[string]any)
	for k, e := range m {
		if k == "" || strings.HasPrefix(k, "x-") || strings.ContainsAny(k, "=\n\r\t ") || !is(e) {
			return false
		}
	}
	return ok
}

// isPairs reports whether v is a mapping to scalars, or a list of KEY=VALUE.
func isPairs(v any) bool {
	if isMap(v, isScalar) {
		return true
	}
	if !isUnique(v, isText) {
		return false
	}
	return !slices.ContainsFunc(v.([]any), func(e any) bool {
		k, _, _ := strings.Cut(e.(string), "=")
		return strings.HasPrefix(k, "x-") || strings.ContainsAny(k, "\n\r\t ")
	})
}

// decode reads a value into what compose-go keeps it in.
func (p *plain) decode(v reflect.Value, n *yaml.Node) {
	if d, ok := v.Addr().Interface().(decoder); ok {
		value, is := p.any(n), shapes[v.Type()]
		need(is != nil && is(value) && d.DecodeMapstructure(value) == nil)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		p.decode(v.Elem(), n)
	case reflect.String:
		s := p.str(n)
		need(s != "")
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(p.boolean(n))
	case reflect.Int, reflect.Int64:
		v.SetInt(p.integer(n))
	case reflect.Uint64:
		i := p.integer(n)
		need(i >= 0)
		v.SetUint(uint64(i))
	case reflect.Float32:
		v.SetFloat(p.number(n))
	case reflect.Slice:
		p.decodeList(v, n)
	case reflect.Struct:
		p.structure(v, n)
	default:
		giveUp()
	}
}

func (p *plain) decodeList(v reflect.Value, n *yaml.Node) {
	items := p.list(n)
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	seen := map[string]bool{}
	for i, c := range items {
		p.decode(v.Index(i), c)
		if s := v.Index(i); s.Kind() == reflect.String {
			key, _, _ := strings.Cut(s.String(), "=")
			need(!seen[key])
			seen[key] = true
		}
	}
}

func (p *plain) boolean(n *yaml.Node) bool {
	switch v := p.any(n).(type) {
	case bool:
		return v
	case string:
		need(v == "true" || v == "false")
		return v == "true"
	}
	giveUp()
	return false
}

func (p *plain) integer(n *yaml.Node) int64 {
	switch v := p.any(n).(type) {
	case int:
		return int64(v)
	case string:
		i, err := strconv.ParseInt(v, 10, 64)
		need(err == nil)
		return i
	}
	giveUp()
	return 0
}

func (p *plain) number(n *yaml.Node) float64 {
	switch v := p.any(n).(type) {
	case int:
		return float64(v)
	case float64:
		need(math.Abs(v) <= math.MaxFloat32)
		return v
	case string:
		f, err := strconv.ParseFloat(v, 32)
		need(err == nil)
		return f
	}
	giveUp()
	return 0
}

// structure reads a mapping into a structure, as far as its keys are among plainKeys.
func (p *plain) structure(v reflect.Value, n *yaml.Node) {
	for _, f := range p.fields(n) {
		p.member(v, f)
	}
}

// member reads one field of a structure.
func (p *plain) member(v reflect.Value, f field) {
	if strings.HasPrefix(f.key, "x-") {
		e := v.FieldByName("Extensions")
		need(e.IsValid())
		if e.IsNil() {
			e.Set(reflect.ValueOf(types.Extensions{}))
		}
		e.Interface().(types.Extensions)[f.key] = p.any(f.value)
		return
	}
	index, ok := membersOf()[v.Type()][f.key]
	need(ok && (f.key != "memory" || p.follow(f.value).Tag == "!!str"))
	member := v.FieldByIndex(index)
	if _, service := v.Addr().Interface().(*types.ServiceConfig); service && member.Kind() == reflect.String && f.key != "container_name" && f.key != "network_mode" {
		member.SetString(p.str(f.value)) // It may be empty, which is as if it were not there.
		return
	}
	p.decode(member, f.value)
}

// membersOf maps the structures that are read here to their fields by name.
var membersOf = sync.OnceValue(func() map[reflect.Type]map[string][]int {
	out := map[reflect.Type]map[string][]int{}
	for t, keys := range plainKeys {
		known := map[string][]int{}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name != "" && slices.Contains(strings.Fields(keys), name) {
				known[name] = f.Index
			}
		}
		out[t] = known
	}
	return out
})

var nameLike = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// isName reports whether the schema takes s as the name of a service, a volume and so on. Names with dots are compared otherwise by compose-go.
func isName(s string) bool { return nameLike.MatchString(s) && !strings.HasPrefix(s, "x-") }
