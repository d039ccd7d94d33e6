package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/names"
)

// File is one file of a chart or a kustomization. Its name has slashes and is relative to the directory.
type File struct {
	Name    string
	Content []byte
}

// fileName is NAME-KIND.yaml, which no two objects share.
func fileName(o client.Object) string {
	return o.GetName() + "-" + strings.ToLower(o.GetObjectKind().GroupVersionKind().Kind) + ".yaml"
}

// Helm is a stack as a chart that renders to the same objects. Images, replicas and environment are values; the namespace is the
// release's. The chart is named after the last element of dir.
func Helm(s *Stack, dir string) ([]File, error) {
	c := &chart{images: map[string]string{}, services: fields{}}
	c.survey(s)
	var files []File
	for _, o := range s.Objects() {
		content, err := c.file(o)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: "templates/" + fileName(o), Content: content})
	}
	values, err := document(c.values())
	if err != nil {
		return nil, err
	}
	meta, err := document(fields{
		"apiVersion": "v2", "name": chartName(dir), "description": "Converted from compose files", "type": "application", "version": "0.1.0",
	})
	if err != nil {
		return nil, err
	}
	return append([]File{{Name: "Chart.yaml", Content: meta}, {Name: "values.yaml", Content: values}}, files...), nil
}

// chartName is a name that Helm accepts: https://helm.sh/docs/chart_best_practices/conventions/
func chartName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if name := names.Slug(filepath.Base(dir)); name != "" && name[0] >= 'a' {
		return name
	}
	return "stack"
}

// chart turns settings of objects into values of a chart.
type chart struct {
	// images maps references to their expressions, within one object.
	images map[string]string
	// services are the values of each container.
	services fields
	// wait is the image of init containers that wait.
	wait string
	// expressions represent marks in the object that is written; marks begin with prefix.
	expressions []string
	prefix      string
}

// survey finds the image that waits: init containers that are given Conductor's command.
func (c *chart) survey(s *Stack) {
	for i := range s.Services {
		t := templateOf(s.Services[i].Workload)
		if t == nil {
			continue
		}
		for _, init := range t.Spec.InitContainers {
			if len(init.Args) > 0 && init.Args[0] == "wait" {
				c.wait = init.Image
			}
		}
	}
}

func (c *chart) values() fields {
	v := fields{"services": c.services}
	if c.wait != "" {
		v["waitImage"] = c.wait
	}
	return v
}

// mark is a placeholder for an expression until the object is text: a word without quotes that does not occur in the object.
func (c *chart) mark(expression string) string {
	c.expressions = append(c.expressions, expression)
	return c.markOf(len(c.expressions) - 1)
}

func (c *chart) markOf(i int) string { return fmt.Sprintf("%s-%d-end", c.prefix, i) }

// file is an object as a template.
func (c *chart) file(o client.Object) ([]byte, error) {
	f, err := objectFields(o)
	if err != nil {
		return nil, err
	}
	plain, err := document(f)
	if err != nil {
		return nil, err
	}
	c.prefix, c.expressions = "value-"+hash(string(plain)), nil
	c.namespace(f)
	if t := templateOf(o); t != nil {
		c.workload(f)
	}
	data, err := document(f)
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(string(data), "{{", `{{ "{{" }}`)
	for i, e := range c.expressions {
		text = strings.Replace(text, c.markOf(i), e, 1)
	}
	return []byte(text), nil
}

// namespace replaces namespaces in an object by the release's.
func (c *chart) namespace(f fields) {
	meta, _ := f["metadata"].(fields)
	if _, ok := meta["namespace"]; ok {
		meta["namespace"] = c.mark("{{ .Release.Namespace }}")
	}
	subjects, _ := f["subjects"].([]any)
	for _, s := range subjects {
		s.(fields)["namespace"] = c.mark("{{ .Release.Namespace }}")
	}
}

// workload moves images, replicas and plain variables into the chart's values.
func (c *chart) workload(f fields) {
	spec := f["spec"].(fields)
	pod := spec["template"].(fields)["spec"].(fields)
	containers, _ := pod["containers"].([]any)
	c.images = map[string]string{}
	for i, item := range containers {
		container := item.(fields)
		name, image := container["name"].(string), container["image"].(string)
		values := fields{"image": image}
		c.images[image] = value(name, "image", "toJson")
		container["image"] = c.mark(c.images[image])
		if n, ok := spec["replicas"]; ok && i == 0 {
			values["replicas"] = n
			spec["replicas"] = c.mark(value(name, "replicas", "int"))
		}
		if env := c.environment(name, container); len(env) > 0 {
			values["env"] = env
		}
		c.services[name] = values
	}
	inits, _ := pod["initContainers"].([]any)
	for _, item := range inits {
		container := item.(fields)
		image := container["image"].(string)
		if e, ok := c.images[image]; ok {
			container["image"] = c.mark(e)
		} else if image == c.wait {
			container["image"] = c.mark("{{ .Values.waitImage | toJson }}")
		}
	}
}

func (c *chart) environment(service string, container fields) fields {
	out := fields{}
	list, _ := container["env"].([]any)
	for _, item := range list {
		variable := item.(fields)
		name, _ := variable["name"].(string)
		text, ok := variable["value"].(string)
		if !ok || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
			continue
		}
		out[name] = text
		variable["value"] = c.mark(fmt.Sprintf("{{ index .Values.services %s \"env\" %s | toString | toJson }}", strconv.Quote(service), strconv.Quote(name)))
	}
	return out
}

// value is the expression for a setting of a service, through a function.
func value(service, key, function string) string {
	return fmt.Sprintf("{{ index .Values.services %s %s | %s }}", strconv.Quote(service), strconv.Quote(key), function)
}

// Kustomize is a stack as a base with one file for each object, and a kustomization over it that names images.
func Kustomize(s *Stack) ([]File, error) {
	var files []File
	var names []any
	for _, o := range s.Objects() {
		content, err := objectDocument(o)
		if err != nil {
			return nil, err
		}
		names = append(names, fileName(o))
		files = append(files, File{Name: "base/" + fileName(o), Content: content})
	}
	base, err := kustomization(fields{"resources": names})
	if err != nil {
		return nil, err
	}
	over := fields{"resources": []any{"base"}}
	if images := imageNames(s); len(images) > 0 {
		over["images"] = images
	}
	top, err := kustomization(over)
	if err != nil {
		return nil, err
	}
	return append([]File{{Name: "kustomization.yaml", Content: top}, {Name: "base/kustomization.yaml", Content: base}}, files...), nil
}

func kustomization(f fields) ([]byte, error) {
	f["apiVersion"], f["kind"] = "kustomize.config.k8s.io/v1beta1", "Kustomization"
	return document(f)
}

// imageNames are the entries of a kustomization that give images other names or tags. An image that is used with several tags has
// none, since an entry would give it one, and so has one with both a tag and a digest.
func imageNames(s *Stack) []any {
	uses := map[string][]string{}
	for i := range s.Services {
		t := templateOf(s.Services[i].Workload)
		if t == nil {
			continue
		}
		for _, c := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
			name, _ := splitImage(c.Image)
			if !slices.Contains(uses[name], c.Image) {
				uses[name] = append(uses[name], c.Image)
			}
		}
	}
	var out []any
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if len(uses[name]) > 1 {
			continue
		}
		entry := fields{"name": name, "newName": name}
		switch _, end := splitImage(uses[name][0]); {
		case strings.HasPrefix(end, "@"):
			entry["digest"] = end[1:]
		case strings.Contains(end, "@"):
			continue
		case end != "":
			entry["newTag"] = end[1:]
		}
		out = append(out, entry)
	}
	return out
}

// splitImage is a reference's name and what comes after it: :TAG, @DIGEST, or :TAG@DIGEST.
func splitImage(ref string) (name, end string) {
	i := strings.IndexByte(ref, '@')
	if i < 0 {
		i = len(ref)
	}
	if j := strings.LastIndexByte(ref[:i], ':'); j > strings.LastIndexByte(ref[:i], '/') {
		i = j
	}
	return ref[:i], ref[i:]
}
