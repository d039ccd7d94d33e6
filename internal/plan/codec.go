package plan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// A plan is encoded as lines of JSON: an Answer, then each of its Contents, so that a reader need not hold the content of files in memory.

const (
	// MaxAnswer bounds the first line in bytes: a plan without the content of files.
	MaxAnswer = 4 << 20
	// maxContent bounds each further line: a ConfigMap of at most 1 MiB, in which JSON may encode each byte as six.
	maxContent = 8 << 20
)

// Answer is the result of planning: a plan, or the reason why there is none.
type Answer struct {
	Plan *Plan `json:",omitempty"`
	// Refused is a terminal failure.
	Refused *Refusal `json:",omitempty"`
	// Absent are files whose content the plan needs and the checkout lacks.
	Absent []string `json:",omitempty"`
}

// Refusal is a terminal failure in an Answer.
type Refusal struct{ Reason, Sentence, Cause string }

// Answered converts the results of Make to an Answer. Unexpected errors are refusals, too: only another commit can change them.
func Answered(p *Plan, err error) Answer {
	if err == nil {
		return Answer{Plan: p}
	}
	var absent *compose.AbsentError
	if errors.As(err, &absent) {
		return Answer{Absent: absent.Paths}
	}
	f := failure.Of(err)
	refused := &Refusal{Reason: f.Reason, Sentence: f.Sentence}
	if cause := errors.Unwrap(f); cause != nil {
		refused.Cause = cause.Error()
	}
	return Answer{Refused: refused}
}

// Write writes an answer, followed by the plan's Contents.
func (a Answer) Write(w io.Writer) error {
	var contents []*corev1.ConfigMap
	if a.Plan != nil {
		contents = a.Plan.Contents
	}
	line, err := json.Marshal(a)
	if err == nil && len(line) > MaxAnswer {
		line, err = json.Marshal(Answered(nil, failure.Terminalf(v1alpha1.ReasonRefused, nil,
			"The plan of this run is too large: it has %d bytes without the files that the stack mounts; the limit is %d. Use fewer services, variables or suites.", len(line), MaxAnswer)))
		contents = nil
	}
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	out := bufio.NewWriter(w)
	_, _ = out.Write(append(line, '\n'))
	encoder := json.NewEncoder(out)
	for _, content := range contents {
		if err := encoder.Encode(content); err != nil {
			return fmt.Errorf("encode the content of %s: %w", content.Name, err)
		}
	}
	return out.Flush()
}

// Read reads an answer without the plan's Contents, and sets the plan's run and settings, which are not encoded.
func Read(r io.Reader, run *v1alpha1.Run, set settings.Settings) (Answer, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	line, err := readLine(lines, MaxAnswer)
	if err != nil {
		return Answer{}, fmt.Errorf("read the plan: %w", err)
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, fmt.Errorf("decode the plan: %w", err)
	}
	if a.Plan == nil && a.Refused == nil && len(a.Absent) == 0 {
		return a, errors.New("the plan is empty")
	}
	if a.Plan != nil {
		a.Plan.run, a.Plan.settings = run, set
	}
	return a, nil
}

// Peek reads an answer without decoding its plan, and returns the plan's size in bytes, 0 if there is none.
func Peek(r io.Reader) (Answer, int64, error) {
	line, err := readLine(bufio.NewReaderSize(r, 64<<10), MaxAnswer)
	if err != nil {
		return Answer{}, 0, fmt.Errorf("read the plan: %w", err)
	}
	var a struct {
		Answer
		Plan json.RawMessage
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return Answer{}, 0, fmt.Errorf("decode the plan: %w", err)
	}
	if len(a.Plan) == 0 && a.Refused == nil && len(a.Absent) == 0 {
		return Answer{}, 0, errors.New("the plan is empty")
	}
	return a.Answer, int64(len(a.Plan)), nil
}

// ReadContents calls each for every ConfigMap that follows an answer, one at a time.
func ReadContents(r io.Reader, each func(*corev1.ConfigMap) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	if _, err := readLine(lines, MaxAnswer); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	for {
		line, err := readLine(lines, maxContent)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the plan's files: %w", err)
		}
		content := &corev1.ConfigMap{}
		if err := json.Unmarshal(line, content); err != nil {
			return fmt.Errorf("decode the plan's files: %w", err)
		}
		if err := each(content); err != nil {
			return err
		}
	}
}

// readLine reads a line of at most limit bytes. It returns io.EOF only at the end; a partial line is io.ErrUnexpectedEOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit+1:
			return nil, fmt.Errorf("a line has more than %d bytes", limit)
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// object is a Kubernetes object that JSON decodes into its original type.
type object struct{ client.Object }

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) { return json.Marshal(o.Object) }

// UnmarshalJSON implements json.Unmarshaler.
func (o *object) UnmarshalJSON(data []byte) error {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "ConfigMap":
		o.Object = &corev1.ConfigMap{}
	case "Deployment":
		o.Object = &appsv1.Deployment{}
	case "Job":
		o.Object = &batchv1.Job{}
	case "NetworkPolicy":
		o.Object = &networkingv1.NetworkPolicy{}
	case "PersistentVolumeClaim":
		o.Object = &corev1.PersistentVolumeClaim{}
	case "Service":
		o.Object = &corev1.Service{}
	default:
		o.Object = &unstructured.Unstructured{}
	}
	return json.Unmarshal(data, o.Object)
}

func wrap(list []client.Object) []object {
	out := make([]object, 0, len(list))
	for _, o := range list {
		out = append(out, object{o})
	}
	return out
}

func unwrap(list []object) []client.Object {
	out := make([]client.Object, 0, len(list))
	for _, o := range list {
		out = append(out, o.Object)
	}
	return out
}

// servicePlain and planPlain have the fields of their types without the methods.
type (
	servicePlain compose.Service
	planPlain    Plan
)

// serviceWire is the encoding of a Service.
type serviceWire struct {
	servicePlain
	Objects  []object
	Workload object
	Pending  []string `json:",omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s Service) MarshalJSON() ([]byte, error) {
	return json.Marshal(serviceWire{servicePlain(s.Service), wrap(s.Objects), object{s.Workload}, s.Pending})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Service) UnmarshalJSON(data []byte) error {
	var wire serviceWire
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	s.Service, s.Pending = compose.Service(wire.servicePlain), wire.Pending
	s.Objects, s.Workload = unwrap(wire.Objects), wire.Workload.Object
	return nil
}

// planWire is the encoding of a Plan without its Contents, which are lines of their own.
type planWire struct {
	planPlain
	Shared   []object
	Contents *struct{} `json:",omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (p *Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(planWire{planPlain: planPlain(*p), Shared: wrap(p.Shared)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Plan) UnmarshalJSON(data []byte) error {
	var wire planWire
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*p = Plan(wire.planPlain)
	p.Shared = unwrap(wire.Shared)
	return nil
}
