package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const least = `
image: ghcr.io/w3evolutionsllc/conductor:1
github: {appID: 1, privateKeyFile: /key, webhookSecretFiles: [/secret]}
registry: {host: registry.example.com}
`

func TestTheLeastFileGetsTheDefaults(t *testing.T) {
	s, err := Parse([]byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if s.Memory.ResultBytes() != 64<<20 {
		t.Errorf("%d bytes of results", s.Memory.ResultBytes())
	}
	if s.Keep.Default.Duration != 24*time.Hour || s.Builds.Namespace != "conductor-builds" || s.GitHub.APIURL != "https://api.github.com" ||
		s.Checkouts.Bytes() != 4<<30 || s.Registry.Sources != "sources" {
		t.Errorf("defaults are lost: %+v", s)
	}
	if l := s.LeaderElection; l.LeaseDuration.Duration != 15*time.Second || l.RenewDeadline() != 10*time.Second || l.RetryPeriod() != 2*time.Second {
		t.Errorf("the lease is %s, renewed for %s every %s", l.LeaseDuration.Duration, l.RenewDeadline(), l.RetryPeriod())
	}
	if c := s.Ceilings(); c.FileBytes() != 256<<20 {
		t.Errorf("pods are given %d bytes of files", c.FileBytes())
	}
	if c := s.Ceilings(); c.KeepMax != s.Keep.Max || c.KeepForever || len(c.Allow) > 0 {
		t.Errorf("ceilings = %+v", c)
	}
}

func TestPullingNeedsNoWebhookSecret(t *testing.T) {
	text := strings.Replace(least, ", webhookSecretFiles: [/secret]", "", 1)
	if _, err := Parse([]byte(text)); err == nil {
		t.Error("the webhook needs a secret")
	}
	if s, err := Parse([]byte(text + "webhook: pull\n")); err != nil || s.Triggers.PullInterval.Duration != 5*time.Second {
		t.Errorf("%v, %+v", err, s.Triggers)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for _, tc := range []struct{ name, add, want string }{
		{"unknown key", "colour: red", `unknown field "colour"`},
		{"not YAML", "a: [", "invalid YAML"},
		{"keep", "keep: {default: 48h, max: 24h}", "longer than keep.max"},
		{"idle", "keep: {idle: -1h}", "keep.idle must not be negative"},
		{"quantity", "stacks: {cpu: lots}", `stacks.cpu "lots"`},
		{"quantity of files", "stacks: {files: lots}", `stacks.files "lots"`},
		{"host", "stacks: {host: qa.example.com}", "{service} and {run}"},
		{"egress", "stacks: {egress: [10.0.0.1]}", "CIDR"},
		{"egress beyond its mask", "stacks: {egress: [10.1.2.3/8]}", "use 10.0.0.0/8"},
		{"egress port", "stacks: {egress: ['10.0.0.0/8:99999']}", "65535"},
		{"allowance", "stacks: {allow: [sysctls, root]}", `stacks.allow: "root" is not supported: use any of`},
		{"tags", "triggers: {tags: ['[']}", "not a valid pattern"},
		{"registry type", "registry: {type: ftp, host: x}", "registry.type"},
		{"duration", "runTimeout: 0s", "runTimeout"},
		{"deadline", "deadlines: {record: 0s}", "deadlines.record must be longer"},
		{"lease", "leaderElection: {leaseDuration: 2s}", "leaderElection.leaseDuration (2s) must be at least 3s"},
		{"a person as a bot", "bots: {ada: write}", `bots: "ada" is not the login of a bot`},
		{"a bot with an unknown permission", `bots: {"ci[bot]": owner}`, `bots: ci[bot] has the permission "owner"`},
		{"checkouts", "checkouts: {sizeLimit: 100Mi}", `checkouts.sizeLimit "100Mi" must be a Kubernetes quantity of at least 160Mi`},
		{"checkouts without a number", "checkouts: {sizeLimit: much}", `checkouts.sizeLimit "much"`},
		{"one place for two things", "registry: {host: x, records: kept, sources: kept}", `registry.sources and registry.records must differ: both are "kept"`},
		{"no memory", "memory: {results: much}", `memory.results "much"`},
		{"webhook", "webhook: poll", `webhook "poll" is not supported: use push or pull`},
		{"pull interval", "triggers: {pullInterval: 1s}", "triggers.pullInterval (1s) must be at least 2s"},
		{"too little memory", "memory: {results: 64Ki}", "at least 1Mi"},
	} {
		text := least
		if strings.HasPrefix(tc.add, "registry") {
			text = strings.ReplaceAll(text, "registry: {host: registry.example.com}\n", "")
		}
		if _, err := Parse([]byte(text + tc.add + "\n")); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v does not say %q", tc.name, err, tc.want)
		}
	}
	_, err := Parse(nil)
	for _, want := range []string{"image", "github.appID", "github.privateKeyFile", "webhookSecretFiles", "registry.host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an empty file: %v does not name %s", err, want)
		}
	}
}

func TestARunBeginsWithWhatTheOperatorAllows(t *testing.T) {
	s, err := Parse([]byte(least + "stacks: {allow: [sysctls, devices]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Ceilings().Allow; !slices.Equal(got, []v1alpha1.Allowance{"sysctls", "devices"}) {
		t.Errorf("allowed: %v", got)
	}
}

func TestRegistriesHaveABound(t *testing.T) {
	list := func(n, length int) string {
		return "stacks: {registries: [" + strings.Repeat(strings.Repeat("r", length)+",", n) + "]}\n"
	}
	for yaml, want := range map[string]string{
		list(64, 64): "", list(16, 255): "",
		list(65, 2):   "stacks.registries has 65 entries with 130 bytes in total, but the limits are 64 entries and 4096 bytes",
		list(17, 255): "stacks.registries has 17 entries with 4335 bytes in total, but the limits are 64 entries and 4096 bytes",
	} {
		if _, err := Parse([]byte(least + yaml)); (err == nil) != (want == "") || !strings.Contains(fmt.Sprint(err), want) && want != "" {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSplitEgress(t *testing.T) {
	p, port, err := SplitEgress("10.245.0.254/32:5000")
	if err != nil || p.String() != "10.245.0.254/32" || port != 5000 {
		t.Errorf("got %v %v %v", p, port, err)
	}
	if p, port, err = SplitEgress("2001:db8::/32"); err != nil || port != 0 || p.Bits() != 32 {
		t.Errorf("got %v %v %v", p, port, err)
	}
}
