package compose

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValuesThatDockerRefuses(t *testing.T) {
	for text, want := range map[string][]string{
		"restart: allways":                    {`4: refused: web.restart: "allways" is not one of no, always, on-failure, unless-stopped; did you mean always?`},
		"restart: always":                     nil,
		"platform: linux/amd65":               {"4: refused: web.platform: the architecture amd65 does not exist; did you mean amd64?"},
		"platform: linux/x86_64":              nil,
		"cpus: -1":                            {"4: refused: web.cpus: -1 is less than 0"},
		"mem_limit: -1":                       {"4: refused: web.mem_limit: -1 is less than 0"},
		"working_dir: rel/path":               {`4: refused: web.working_dir: "rel/path" is not an absolute path: write /rel/path`},
		"cap_drop: [NOPE]":                    {"4: refused: web.cap_drop: Linux does not have the capability NOPE"},
		"cap_drop: [ALL, CAP_CHOWN, net_raw]": nil,
		"cap_drop: [NET_RAWW]":                {"4: refused: web.cap_drop: Linux does not have the capability NET_RAWW; did you mean NET_RAW?"},
		"sysctls: abc":                        {`4: refused: web.sysctls: a list or a mapping is expected here, and this is "abc"`},
		"deploy: {restart_policy: {condition: failure}}": {
			`4: refused: web.deploy.restart_policy.condition: "failure" is not one of none, on-failure, any, no, unless-stopped, always`,
		},
	} {
		if diff := cmp.Diff(want, linesOf(t, map[string]string{DefaultFile: service + "    " + text + "\n"}, LoadOptions{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
