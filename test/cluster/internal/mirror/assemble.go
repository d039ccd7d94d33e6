package mirror

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/debian"
)

//go:embed files maildev
var files embed.FS

// unwanted is what Debian's packages hold and images do not.
var unwanted = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/info",
	"usr/share/bash-completion", "usr/share/gdb", "etc/init.d", "etc/default", "etc/logrotate.d", "lib/systemd", "usr/lib/tmpfiles.d",
}

// assemble makes the layer's files below tree.
func (l layer) assemble(ctx context.Context, tree string) error {
	steps := []func(context.Context, string) error{l.unpackDebs, l.unpackNPM, l.installLocked, l.addRoots, l.addApplets, l.addFiles}
	for _, step := range steps {
		if err := step(ctx, tree); err != nil {
			return err
		}
	}
	return nil
}

func (l layer) unpackDebs(ctx context.Context, tree string) error {
	if len(l.Debs) == 0 {
		return nil
	}
	into := tree
	if len(l.Keep) > 0 {
		into = filepath.Join(filepath.Dir(tree), "unpacked")
	}
	if err := debian.Fetch(ctx, into, l.Debs...); err != nil {
		return err
	}
	for _, path := range append(l.Drop, unwanted...) {
		if err := os.RemoveAll(filepath.Join(into, path)); err != nil {
			return err
		}
	}
	for _, path := range l.Keep {
		if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(path)), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(into, path), filepath.Join(tree, path)); err != nil {
			return err
		}
	}
	if into != tree {
		return os.RemoveAll(into)
	}
	return nil
}

func (l layer) unpackNPM(ctx context.Context, tree string) error {
	for _, p := range l.NPM {
		dir := filepath.Join(tree, p.Into)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		packs, err := os.MkdirTemp("", "conductor-npm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(packs)
		if err := command(ctx, packs, "npm", "pack", "--silent", p.Name+"@"+p.Version); err != nil {
			return err
		}
		archives, err := filepath.Glob(filepath.Join(packs, "*.tgz"))
		if err != nil || len(archives) != 1 {
			return fmt.Errorf("npm pack %s: want one archive, got %v %v", p.Name, archives, err)
		}
		if err := command(ctx, dir, "tar", "--extract", "--gzip", "--strip-components=1", "--no-same-owner", "--file="+archives[0]); err != nil {
			return err
		}
	}
	return nil
}

// installLocked installs a package with the dependencies that its lock file
// names, and without running any script of theirs.
func (l layer) installLocked(ctx context.Context, tree string) error {
	if l.Lock == "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "conductor-npm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := files.ReadFile(l.Lock + "/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := command(ctx, dir, "npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	root := filepath.Join(tree, l.LockInto)
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	modules := filepath.Join(dir, "node_modules")
	for _, step := range [][]string{
		{"rm", "-rf", filepath.Join(modules, ".bin"), filepath.Join(modules, ".package-lock.json")},
		{"cp", "-a", filepath.Join(modules, l.Lock), root},
		{"rm", "-rf", filepath.Join(modules, l.Lock)},
		{"cp", "-a", modules + "/.", filepath.Join(root, "node_modules")},
	} {
		if err := command(ctx, dir, step[0], step[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// addRoots puts every certificate of the package ca-certificates into the one
// file that programs look for.
func (l layer) addRoots(_ context.Context, tree string) error {
	if !l.Roots {
		return nil
	}
	certificates, err := filepath.Glob(filepath.Join(tree, "usr/share/ca-certificates/mozilla/*.crt")) // sorted
	if err != nil || len(certificates) == 0 {
		return fmt.Errorf("no certificates in ca-certificates: %v", err)
	}
	var bundle bytes.Buffer
	for _, c := range certificates {
		text, err := os.ReadFile(c)
		if err != nil {
			return err
		}
		bundle.Write(text)
	}
	if err := os.RemoveAll(filepath.Join(tree, "usr")); err != nil {
		return err
	}
	return write(filepath.Join(tree, bundlePath), bundle.Bytes(), 0o644)
}

const bundlePath = "etc/ssl/certs/ca-certificates.crt"

// addApplets links busybox's applets, those that no file of ours replaces.
func (l layer) addApplets(ctx context.Context, tree string) error {
	if !l.Applets {
		return nil
	}
	output, err := exec.CommandContext(ctx, filepath.Join(tree, "bin/busybox"), "--list").Output()
	if err != nil {
		return fmt.Errorf("list busybox's applets: %w", err)
	}
	for _, name := range strings.Fields(string(output)) {
		if err := os.Symlink("busybox", filepath.Join(tree, "bin", name)); err != nil && name != "busybox" {
			return err
		}
	}
	return nil
}

func (l layer) addFiles(_ context.Context, tree string) error {
	for path, mode := range l.Dirs {
		dir := filepath.Join(tree, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, fs.FileMode(mode&0o777)|sticky(mode)); err != nil {
			return err
		}
	}
	for _, f := range l.Files {
		content, err := files.ReadFile("files/" + f.From)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(tree, f.Path), content, fs.FileMode(f.Mode)); err != nil {
			return err
		}
	}
	for path, from := range l.Copies {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(tree, path), content, 0o755); err != nil {
			return err
		}
	}
	for path, target := range l.Links {
		link := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

func sticky(mode uint32) fs.FileMode {
	if mode&0o1000 != 0 {
		return fs.ModeSticky
	}
	return 0
}

// write replaces what is at path, a link too, by a file of exactly this mode.
func write(path string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	_ = os.Remove(path)
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, output)
	}
	return nil
}
