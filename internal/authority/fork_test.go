package authority

import (
	"errors"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestOnlyTheHeadOfAForkThatIsNamedIsRun(t *testing.T) {
	head, other := "0123456789ab"+strings.Repeat("c", 28), "0123456789ab"+strings.Repeat("d", 28)
	first := strings.Repeat("e", 40)
	for _, tc := range []struct {
		name, named, head string
		commits           []string
		reason            string
	}{
		{"the whole head", head, head, nil, ""},
		{"the head in capitals", strings.ToUpper(head), head, nil, ""},
		{"12 digits", head[:12], head, []string{first, head}, ""},
		{"more than 12 digits, unlike the other's", head[:13], head, []string{other, head}, ""},
		{"nothing", "", head, []string{head}, "names no commit"},
		{"11 digits", head[:11], head, []string{head}, "names fewer than 12 digits"},
		{"digits of two commits", head[:12], head, []string{other, head}, "digits that may be another's"},
		{"digits in a list that ends before the head", head[:12], head, []string{first}, "digits that may be another's"},
		{"digits without a list", head[:12], head, nil, "digits that may be another's"},
		{"a commit that was the head", other, head, []string{other, head}, "names a commit that is not the head"},
		{"another commit of the pull request", first, head, []string{first, head}, "names a commit that is not the head"},
		{"more than the head", head + "0", head, []string{head}, "names a commit that is not the head"},
		{"an unknown head", "", "", nil, "names no commit"},
	} {
		err := CheckNamed(subject(Person, "write"), tc.named, tc.head, tc.commits)
		refusal, isRefused := errors.AsType[*Refusal](err)
		if isRefused != (tc.reason != "") {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if isRefused && (!strings.Contains(refusal.Reason, tc.reason) || refusal.Trust != v1alpha1.TrustFork ||
			!strings.HasSuffix(refusal.Answer, "\n```\n/conductor test --sha "+tc.head+"\n```")) {
			t.Errorf("%s: %+v", tc.name, refusal)
		}
	}
}
