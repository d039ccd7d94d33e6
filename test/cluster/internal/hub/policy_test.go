package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGrant(t *testing.T) {
	tests := []struct {
		reason, user string
		scopes       []string
		want         []Access
	}{
		{"anybody pulls a mirrored image", Anonymous, []string{"repository:library/redis:pull"},
			[]Access{{"repository", "library/redis", []string{"pull"}}}},
		{"nobody pushes one, pull is left", Pusher, []string{"repository:library/redis:pull,push"},
			[]Access{{"repository", "library/redis", []string{"pull"}}}},
		{"private images want a login", Anonymous, []string{"repository:conductor/app:pull"}, []Access{}},
		{"the pusher does everything in its namespace", Pusher, []string{"repository:conductor/a/b:pull,push,delete"},
			[]Access{{"repository", "conductor/a/b", []string{"pull", "push", "delete"}}}},
		{"the puller only pulls", Puller, []string{"repository:conductor/app:push,pull,delete"},
			[]Access{{"repository", "conductor/app", []string{"pull"}}}},
		{"a name that only begins alike is another namespace", Pusher, []string{"repository:conductor-evil/app:push"}, []Access{}},
		{"several scopes are judged one by one", Puller, []string{"repository:conductor/a:pull", "repository:library/b:push"},
			[]Access{{"repository", "conductor/a", []string{"pull"}}}},
		{"the catalog is the pusher's", Puller, []string{"registry:catalog:*"}, []Access{}},
		{"and only his", Pusher, []string{"registry:catalog:*"}, []Access{{"registry", "catalog", []string{"*"}}}},
		{"a port in a name is no action", Anonymous, []string{"repository:host:5000/x:pull"},
			[]Access{{"repository", "host:5000/x", []string{"pull"}}}},
		{"what is no scope grants nothing", Pusher, []string{"", "repository", "repository::pull", "repository:conductor/a"}, []Access{}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Grant(tt.user, tt.scopes)); diff != "" {
				t.Errorf("Grant(%q, %q) (-want +got):\n%s", tt.user, tt.scopes, diff)
			}
		})
	}
}
