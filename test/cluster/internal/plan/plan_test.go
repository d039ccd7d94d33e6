package plan

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestClustersShareNothing(t *testing.T) {
	seen := map[string]string{}
	var ranges []netip.Prefix
	for i := range Clusters {
		name := string(rune('a' + i))
		p, err := New("/state", name, i)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{p.Dir, p.NetNS, p.HostIf, p.NodeIP, p.HostIP, p.Registry(), p.Store(), p.Kubeconfig(), p.ContainerdSocket()} {
			if owner, ok := seen[value]; ok {
				t.Errorf("clusters %s and %s both have %s", owner, name, value)
			}
			seen[value] = name
		}
		if len(p.HostIf) > 15 {
			t.Errorf("interface name %s is longer than the kernel takes", p.HostIf)
		}
		for _, cidr := range []string{p.PodCIDR, p.ServiceCIDR, p.NodeIP + "/24"} {
			prefix := netip.MustParsePrefix(cidr).Masked()
			for _, other := range ranges {
				if prefix.Overlaps(other) {
					t.Errorf("cluster %s: %s overlaps %s", name, prefix, other)
				}
			}
			ranges = append(ranges, prefix)
		}
		for _, inside := range [][2]string{{p.ServiceCIDR, p.DNSIP}, {p.ServiceCIDR, p.APIServerIP}} {
			if !netip.MustParsePrefix(inside[0]).Contains(netip.MustParseAddr(inside[1])) {
				t.Errorf("cluster %s: %s is not in %s", name, inside[1], inside[0])
			}
		}
	}
}

func TestTake(t *testing.T) {
	root := filepath.Join(t.TempDir(), "clusters")
	want := []struct {
		name  string
		index int
	}{{"other", 1}, {First, 0}, {"third", 2}, {"other", 1}}
	for _, w := range want {
		p, err := Take(root, w.name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Index != w.index {
			t.Errorf("cluster %s got index %d, want %d", w.name, p.Index, w.index)
		}
	}
	if err := os.RemoveAll(filepath.Join(root, "other")); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Find(root, "other"); ok || err != nil {
		t.Errorf("a removed cluster is found: %v, %v", ok, err)
	}
	if p, err := Take(root, "fourth"); err != nil || p.Index != 1 {
		t.Errorf("got index %d, %v, want the freed 1", p.Index, err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "-a", "../a", "A", "a/b", "a b"} {
		if _, err := New("/state", name, 0); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	if _, err := New("/state", "a", Clusters); err == nil {
		t.Error("an index without addresses was accepted")
	}
}
