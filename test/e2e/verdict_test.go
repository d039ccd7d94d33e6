//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// cleaned are the runs that tests deleted.
var cleaned struct {
	sync.Mutex
	runs map[types.UID]string
}

func noteCleaned(run *v1alpha1.Run) {
	cleaned.Lock()
	defer cleaned.Unlock()
	if cleaned.runs == nil {
		cleaned.runs = map[types.UID]string{}
	}
	cleaned.runs[run.UID] = run.Name
}

// verdict judges all tests together: leftovers, violations of GitHub's contract, and the content of the logs.
func verdict(ctx context.Context) []string {
	var problems problems
	if err := clean(ctx); err != nil {
		problems.Errorf("left behind: %v", err)
	}
	here.GitHub.Check(&problems)
	permissions(&problems)
	secrets(ctx, &problems)
	return problems
}

// problems collects errors, like a test.
type problems []string

func (p *problems) Helper() {}

func (p *problems) Errorf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// clean waits until the tests' runs and all their objects are gone.
func clean(ctx context.Context) error {
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if err = remains(ctx); err == nil {
			return nil
		}
	}
	return err
}

func remains(ctx context.Context) error {
	var list v1alpha1.RunList
	if err := here.Client.List(ctx, &list, client.InNamespace(lab.Namespace)); err != nil {
		return err
	}
	for _, run := range list.Items {
		if _, ok := cleaned.runs[run.UID]; ok {
			return fmt.Errorf("run %s, deleted at %s", run.Name, run.DeletionTimestamp)
		}
	}
	for uid, name := range cleaned.runs {
		if err := leftovers(map[string]string{v1alpha1.LabelRunUID: string(uid)}); err != nil {
			return fmt.Errorf("run %s is gone, and %w", name, err)
		}
	}
	return nil
}

// permissions checks that calls need no more than the App's manifest grants, that tokens are for one repository, and that the manifest
// grants no more than calls need.
func permissions(p *problems) {
	data, err := os.ReadFile("../../charts/conductor/files/app-manifest.json")
	if err != nil {
		p.Errorf("%v", err)
		return
	}
	var manifest struct {
		Permissions githubtest.Permissions `json:"default_permissions"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		p.Errorf("the App's manifest: %v", err)
		return
	}
	seen := map[string]bool{}
	for _, r := range here.GitHub.Requests() {
		if r.Caller != "installation" || seen[r.Operation] {
			continue
		}
		enough := len(r.Needed) == 0 || slices.ContainsFunc(r.Needed, manifest.Permissions.Include)
		narrow := len(r.Repositories) == 1 || r.Operation == "GET /installation/repositories"
		if !enough {
			p.Errorf("%s needs %v, which the App's manifest does not grant", r.Operation, r.Needed)
		}
		if !narrow {
			p.Errorf("%s was called with a token for %d repositories", r.Operation, len(r.Repositories))
		}
		seen[r.Operation] = !enough || !narrow
	}
}

// credential matches GitHub tokens and private keys.
var credential = regexp.MustCompile(`gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|eyJ[\w-]{20,}\.[\w-]{20,}|PRIVATE KEY`)

// secrets checks Conductor's logs for credentials.
func secrets(ctx context.Context, p *problems) {
	logs, err := here.Kubectl(ctx, "-n", lab.Namespace, "logs", "deployment/conductor", "--all-pods", "--tail=-1")
	if err != nil {
		p.Errorf("%v", err)
		return
	}
	if !strings.Contains(logs, "conductor is starting") {
		p.Errorf("Conductor's logs could not be read whole; they begin with %.200q", logs)
	}
	for _, secret := range []string{here.App.WebhookSecret, here.PushPassword, here.PullPassword} {
		if strings.Contains(logs, secret) {
			p.Errorf("Conductor's logs hold one of its secrets")
		}
	}
	if i := credential.FindStringIndex(logs); i != nil {
		p.Errorf("Conductor's logs hold a credential: %.120q", logs[max(0, i[0]-100):])
	}
}
