package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxContent is how much of the repository one mount may copy: a ConfigMap holds 1 MiB with its keys.
// https://kubernetes.io/docs/concepts/configuration/configmap/
const maxContent = 900 << 10

// filesDir is where a directory's files lie in their volume.
const filesDir = "files/"

// content is a copy of files: the ConfigMap and how its keys lie in the volume, all of it below the path sub.
type content struct {
	object *corev1.ConfigMap
	items  []corev1.KeyToPath
	sub    string
	// refused says why there is none.
	refused string
}

// content mounts a copy of a file or directory of the repository.
func (u *unit) content(m mount) {
	files := u.c.copyOf(m.rel)
	if files.refused != "" {
		u.refuse("volumes", m.Target, "%s", files.refused)
		return
	}
	if !m.ReadOnly {
		u.note("volumes", m.Target, "%s is a copy that cannot be written to", m.Target)
	}
	u.mountContent("volumes", m.Target, files, nil)
}

func (u *unit) mountContent(field, target string, files *content, mode *int32) {
	items := slices.Clone(files.items)
	for i := range items {
		if mode != nil {
			items[i].Mode = mode
		}
	}
	source := corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: files.object.Name}, Items: items,
	}}
	// A subPath shows the files as they are, without the links that the kubelet keeps beside them.
	u.attach(field, files.object.Name, source, corev1.VolumeMount{MountPath: target, SubPath: files.sub, ReadOnly: true})
}

// copyOf makes a ConfigMap of a file or of all files below a directory of the repository, once for each path.
func (c *converter) copyOf(rel string) *content {
	if have := c.contents[rel]; have != nil {
		return have
	}
	out := &content{}
	c.contents[rel] = out
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		out.refused = rel + " cannot be read"
		return out
	}
	defer root.Close() //nolint:errcheck // it was only read
	st, err := root.Stat(rel)
	if err != nil {
		out.refused = rel + " cannot be read"
		return out
	}
	b := builder{object: &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: c.meta(objectName("files-", rel), "")}}
	if st.IsDir() {
		out.sub = strings.TrimSuffix(filesDir, "/")
		err = b.addDir(root, rel, out.sub)
	} else {
		out.sub = path.Base(rel)
		err = b.addFile(root, rel, out.sub, st)
	}
	if err != nil {
		out.refused = err.Error()
		return out
	}
	out.object, out.items = b.object, b.items
	return out
}

// builder fills a ConfigMap.
type builder struct {
	object *corev1.ConfigMap
	items  []corev1.KeyToPath
	size   int64
}

func (b *builder) addDir(root *os.Root, dir, under string) error {
	return fs.WalkDir(root.FS(), dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s cannot be read", p)
		}
		if d.IsDir() {
			// A checkout of Conductor has none, and so a copy elsewhere has none.
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		st, err := root.Stat(filepath.FromSlash(p))
		if err != nil {
			return fmt.Errorf("%s is a symbolic link that leads out of the repository or nowhere", p)
		}
		if st.IsDir() {
			return fmt.Errorf("%s is a symbolic link to a directory, which cannot be copied", p)
		}
		return b.addFile(root, p, path.Join(under, strings.TrimPrefix(p, dir)), st)
	})
}

// addFile copies a file to a path in the volume.
func (b *builder) addFile(root *os.Root, p, to string, st fs.FileInfo) error {
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a directory", p)
	}
	if b.size += st.Size(); b.size > maxContent {
		return fmt.Errorf("the files are larger than %d KiB together: build them into an image", maxContent>>10)
	}
	data, err := root.ReadFile(filepath.FromSlash(p))
	if err != nil {
		return fmt.Errorf("%s cannot be read", p)
	}
	mode := int32(0o644)
	if st.Mode()&0o111 != 0 {
		mode = 0o755
	}
	b.add(data, to, mode)
	return nil
}

// add puts data under a key made from its path.
func (b *builder) add(data []byte, to string, mode int32) {
	key := keyOf(strings.TrimPrefix(to, filesDir))
	if utf8.Valid(data) {
		if b.object.Data == nil {
			b.object.Data = map[string]string{}
		}
		b.object.Data[key] = string(data)
	} else {
		if b.object.BinaryData == nil {
			b.object.BinaryData = map[string][]byte{}
		}
		b.object.BinaryData[key] = data
	}
	b.items = append(b.items, corev1.KeyToPath{Key: key, Path: to, Mode: &mode})
}

// keyOf is the path itself where a ConfigMap can have it as a key, else its last part with a hash of the whole.
func keyOf(p string) string {
	if len(validation.IsConfigMapKey(p)) == 0 {
		return p
	}
	name := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("0123456789-_.", r)) {
			return r
		}
		return '_'
	}, path.Base(p))
	return hash(p) + "-" + name[max(0, len(name)-200):]
}

// file mounts a config or a secret.
func (u *unit) file(field string, ref types.FileReferenceConfig, def types.FileObjectConfig, dir string) {
	target := ref.Target
	if target == "" {
		target = ref.Source
	}
	if !path.IsAbs(target) {
		target = dir + target
	}
	files := u.c.definition(field, ref.Source, def)
	switch {
	case files == nil: // the top level says why
	case files.refused != "":
		u.refuse(field, ref.Source, "%s", files.refused)
	default:
		var mode *int32
		if ref.Mode != nil {
			mode = new(int32(*ref.Mode) & 0o777)
		}
		u.mountContent(field, target, files, mode)
	}
}

// definition is the content of a config or secret; nil for those that the table refuses.
func (c *converter) definition(field, name string, def types.FileObjectConfig) *content {
	key := field + ":" + name
	if have := c.contents[key]; have != nil {
		return have
	}
	if bool(def.External) || field == "secrets" && def.Environment != "" {
		return nil
	}
	out := &content{sub: "file"}
	c.contents[key] = out
	b := builder{object: &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: c.meta(objectName(strings.TrimSuffix(field, "s")+"-", name), "")}}
	var err error
	switch {
	case def.File != "":
		err = c.readInto(&b, def.File, out.sub)
	case def.Environment != "" && def.Content == "":
		if _, ok := c.compose.Environment[def.Environment]; !ok {
			err = fmt.Errorf("%s is set neither in the file of variables nor in stack.env", def.Environment)
			break
		}
		fallthrough
	default:
		b.add([]byte(def.Content), out.sub, 0o444)
	}
	if err != nil {
		out.refused = err.Error()
		return out
	}
	out.object, out.items = b.object, b.items
	return out
}

// readInto adds the file at an absolute path, which must lie in the repository.
func (c *converter) readInto(b *builder, file, to string) error {
	if err := insideOf(c.dir, file); err != nil {
		return fmt.Errorf("the file %w", err)
	}
	rel, err := filepath.Rel(c.dir, file)
	if err != nil {
		return errOutside
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return fmt.Errorf("%s cannot be read", rel)
	}
	defer root.Close() //nolint:errcheck // it was only read
	st, err := root.Stat(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not in the repository", filepath.ToSlash(rel))
	}
	if err != nil {
		return fmt.Errorf("%s cannot be read", filepath.ToSlash(rel))
	}
	return b.addFile(root, filepath.ToSlash(rel), to, st)
}
