package authority

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// declared returns the values of the string constants of a type in authority.go, so that a new one cannot be left out of these tests.
func declared(t *testing.T, typeName string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "authority.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typeName {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) < 4 {
		t.Fatalf("read %q of type %s; there are more", values, typeName)
	}
	return values
}

func subject(kind Kind, p v1alpha1.Permission) Subject {
	return Subject{Kind: kind, Actor: v1alpha1.Actor{Login: "ann"}, Permission: p}
}

func TestEveryActionHasARowForEveryKindOfActor(t *testing.T) {
	actions, kinds := declared(t, "Action"), declared(t, "Kind")
	rows := map[string]int{}
	for _, r := range table {
		rows[string(r.action)+" by "+string(r.kind)]++
		if slices.ContainsFunc(r.cells[:], func(c cell) bool { return c == nil }) {
			t.Errorf("%s by %s has an empty cell", r.action, r.kind)
		}
	}
	for _, a := range actions {
		for _, k := range kinds {
			if n := rows[a+" by "+k]; n != 1 {
				t.Errorf("%s by %s has %d rows, want 1", a, k, n)
			}
		}
	}
	if want := len(actions) * len(kinds); len(table) != want {
		t.Errorf("%d rows, want %d", len(table), want)
	}
}

// TestTheWholeTable holds every cell: what a person may depends on the permission, of which want has the least that is enough.
func TestTheWholeTable(t *testing.T) {
	const nothing = "nothing is enough"
	anyKind, noFork := [3]v1alpha1.Permission{"", "", ""}, [3]v1alpha1.Permission{"", "", nothing}
	writers, writersNoFork := [3]v1alpha1.Permission{"write", "write", "write"}, [3]v1alpha1.Permission{"write", "write", nothing}
	denied := [3]v1alpha1.Permission{nothing, nothing, nothing}
	want := map[Action]map[Kind][3]v1alpha1.Permission{
		StartByTag:     {Person: writersNoFork, Bot: noFork, Poll: noFork, Operator: denied},
		StartByComment: {Person: writers, Bot: writersNoFork, Poll: denied, Operator: denied},
		Cancel:         {Person: writers, Bot: writers, Poll: denied, Operator: anyKind},
		Rerun:          {Person: writersNoFork, Bot: writersNoFork, Poll: denied, Operator: denied},
		Extend:         {Person: writers, Bot: writers, Poll: denied, Operator: anyKind},
		Down:           {Person: writers, Bot: writers, Poll: denied, Operator: anyKind},
		Close:          {Person: anyKind, Bot: anyKind, Poll: denied, Operator: denied},
		Status:         {Person: writers, Bot: writers, Poll: denied, Operator: anyKind},
		Logs:           {Person: writers, Bot: writers, Poll: denied, Operator: anyKind},
		Help:           {Person: writers, Bot: writers, Poll: denied, Operator: denied},
	}
	for _, a := range declared(t, "Action") {
		for _, k := range declared(t, "Kind") {
			least, ok := want[Action(a)][Kind(k)]
			if !ok {
				t.Errorf("this test does not cover %s by %s", a, k)
				continue
			}
			for column, trust := range trusts {
				for _, p := range append([]v1alpha1.Permission{"", "owner"}, permissions...) {
					err := Check(subject(Kind(k), p), Action(a), trust)
					enough := least[column] == "" || least[column] != nothing && slices.Index(permissions, p) >= slices.Index(permissions, least[column])
					if (err == nil) != enough {
						t.Errorf("%s by %s with %q permission on %s code: %v, want allowed %t", a, k, p, trust, err, enough)
					}
				}
			}
		}
	}
}

func TestRefusalsExplainThemselves(t *testing.T) {
	bot := v1alpha1.Actor{Login: "ci[bot]", Type: "Bot"}
	for _, tc := range []struct {
		name    string
		subject Subject
		action  Action
		trust   v1alpha1.TrustLevel
		reason  string
		answer  string
	}{
		{"a reader", subject(Person, "read"), StartByComment, "", "ann has read permission; commands need write", "Commands need write permission on this repository; yours is read. Ask someone who has it to comment."},
		{"a reader on a fork", subject(Person, "read"), StartByComment, v1alpha1.TrustFork, "ann has read permission; commands need write", "yours is read."},
		{"a stranger", subject(Person, "none"), Help, "", "ann has none permission", "yours is none."},
		{"an unknown permission", subject(Person, ""), Cancel, "", "ann has unknown permission", "yours is unknown."},
		{"a fork", subject(Person, "admin"), Rerun, v1alpha1.TrustFork, "The pull request comes from a fork", "Push the commit to a branch of this repository to test it."},
		{"a bot", Commenter(bot, "admin"), Cancel, "", "ci[bot] is a bot; commands from bots are ignored unless the operator's list (bots) has them", ""},
		{"a listed bot with too little", ListedBot(bot, "read"), Cancel, "", "ci[bot] has read permission; commands need write", ""},
		{"a listed bot on a fork", ListedBot(bot, "write"), StartByComment, v1alpha1.TrustFork, "The pull request comes from a fork", ""},
		{"the poll", TagPoll(), Cancel, v1alpha1.TrustProtected, `This is not available to an actor of kind "poll"`, ""},
		{"an operator", OperatorNamed("kubectl"), StartByTag, v1alpha1.TrustProtected, `This is not available to an actor of kind "operator"`, ""},
		{"the zero subject", Subject{}, StartByTag, v1alpha1.TrustProtected, `This is not available to an actor of kind ""`, ""},
		{"an unknown action", subject(Person, "admin"), "dance", "", `This is not available to an actor of kind "person"`, ""},
		{"an unknown trust", subject(Person, "admin"), Help, "complete", `This is not available to an actor of kind "person"`, ""},
	} {
		err := Check(tc.subject, tc.action, tc.trust)
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("%s: %v, want a refusal", tc.name, err)
			continue
		}
		if !strings.Contains(refusal.Reason, tc.reason) || !strings.Contains(refusal.Answer, tc.answer) || (refusal.Answer == "") != (tc.answer == "") || refusal.Trust != tc.trust {
			t.Errorf("%s: %+v", tc.name, refusal)
		}
		if err.Error() != refusal.Reason || !failure.IsTerminal(err) {
			t.Errorf("%s: %v is not a terminal failure with its reason", tc.name, err)
		}
	}
}

func TestAnUnknownTrustRefusesOnlyWhatIsDeniedAtEveryTrust(t *testing.T) {
	for _, tc := range []struct {
		subject Subject
		action  Action
	}{
		{subject(Person, "write"), StartByComment}, {Pusher(v1alpha1.Actor{Login: "ann"}), StartByTag},
		{Pusher(v1alpha1.Actor{Login: "ci[bot]", Type: "Bot"}), StartByTag}, {TagPoll(), StartByTag}, {OperatorNamed("kubectl"), Cancel},
	} {
		if err := Check(tc.subject, tc.action, ""); err != nil {
			t.Errorf("%s by %s: %v", tc.action, tc.subject.Kind, err)
		}
	}
}
