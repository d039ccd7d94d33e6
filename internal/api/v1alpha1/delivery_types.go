package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Delivery is the durable inbox: one relevant GitHub webhook delivery, named by its GUID. It is created before GitHub receives the
// response 202, so an acknowledged delivery is never lost. A redelivery has the same GUID and therefore the same object. It holds the
// decoded event in less than 4 KiB, never the payload or the text of a comment.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dlv
// +kubebuilder:selectablefield:JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Event",type=string,JSONPath=`.spec.event.name`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.event.repository.owner`
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.event.repository.name`
// +kubebuilder:printcolumn:name="Sender",type=string,JSONPath=`.spec.event.sender.login`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.status.run`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.reason`
type Delivery struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DeliverySpec `json:"spec"`
	// +optional
	Status DeliveryStatus `json:"status,omitempty"`
}

// DeliverySpec is the content of the delivery. It is immutable.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a delivery is immutable"
type DeliverySpec struct {
	// GUID is the X-GitHub-Delivery header. It is the trace id of everything that follows from the delivery.
	// +kubebuilder:validation:MinLength=1
	GUID string `json:"guid"`
	// Event is the decoded event.
	Event Event `json:"event"`
}

// DeliveryOutcome is what a delivery became. A comment with several commands has the first of these outcomes that one of its commands
// has: Failed, Started, Canceled, Refused, Answered, Ignored.
//
// +kubebuilder:validation:Enum=Started;Canceled;Answered;Refused;Ignored;Failed
type DeliveryOutcome string

// The outcomes of deliveries.
const (
	// DeliveryStarted: a Run exists for it.
	DeliveryStarted DeliveryOutcome = "Started"
	// DeliveryCanceled: a Run was canceled.
	DeliveryCanceled DeliveryOutcome = "Canceled"
	// DeliveryAnswered: it got a reply, such as the help.
	DeliveryAnswered DeliveryOutcome = "Answered"
	// DeliveryRefused: the sender may not do what they asked for.
	DeliveryRefused DeliveryOutcome = "Refused"
	// DeliveryIgnored: it does not ask for anything.
	DeliveryIgnored DeliveryOutcome = "Ignored"
	// DeliveryFailed: it could not be acted on; Reason explains why.
	DeliveryFailed DeliveryOutcome = "Failed"
)

// DeliveryStatus is the result of acting on a delivery.
type DeliveryStatus struct {
	// ProcessedAt is when Conductor finished acting on the delivery; unset before.
	// +optional
	ProcessedAt *metav1.Time `json:"processedAt,omitempty"`
	// +optional
	Outcome DeliveryOutcome `json:"outcome,omitempty"`
	// Run is the name of a Run that was started, or else of one that was canceled.
	// +optional
	Run string `json:"run,omitempty"`
	// Reason is a sentence for people.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`
	// Answered means that the sender got a reply in words.
	// +optional
	Answered bool `json:"answered,omitempty"`
}

// DeliveryList is a list of Deliveries.
//
// +kubebuilder:object:root=true
type DeliveryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Delivery `json:"items"`
}
