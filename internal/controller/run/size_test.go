package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestALargeStatusIsShortenedAndASmallOneIsLeftAlone(t *testing.T) {
	small := v1alpha1.RunStatus{Suites: []v1alpha1.SuiteStatus{{Name: "a", Log: strings.Repeat("x", 8000) + "END"}}}
	boundStatus(&small)
	if got := small.Suites[0].Log; len(got) != 8003 {
		t.Errorf("a log of 8,003 bytes was cut to %d", len(got))
	}
	var large v1alpha1.RunStatus
	for i := range 64 {
		large.Suites = append(large.Suites, v1alpha1.SuiteStatus{Name: fmt.Sprint("suite", i), Log: strings.Repeat("ü", 4000) + "END"})
		large.Images = append(large.Images, v1alpha1.ImageStatus{Name: fmt.Sprint("image", i), Log: strings.Repeat("y", 4096)})
	}
	for i := range 256 {
		large.Services = append(large.Services, v1alpha1.ServiceStatus{Name: fmt.Sprint("service", i), Message: "WHY " + strings.Repeat("z", 2000)})
	}
	for i := range maxStackImages {
		large.StackImages = append(large.StackImages, v1alpha1.StackImage{
			Name: fmt.Sprintf("registry.example.com/acme/image-%d:1.2.3", i), Digest: someDigest, Problem: "WHY " + strings.Repeat("p", 500),
		})
	}
	boundStatus(&large)
	data, err := json.Marshal(large)
	if err != nil || len(data) > maxStatus {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if i := large.StackImages[63]; i.Digest != someDigest || !strings.HasPrefix(i.Problem, "WHY") {
		t.Errorf("what an image was is lost: %+v", i)
	}
	if !strings.HasSuffix(large.Suites[63].Log, "END") || !strings.HasPrefix(large.Services[255].Message, "WHY") {
		t.Errorf("the wrong ends were kept: %q, %q", large.Suites[63].Log, large.Services[255].Message)
	}
}
