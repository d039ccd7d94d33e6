// Package v1alpha1 defines Conductor's custom resources and the types that all other packages share.
//
// A Delivery is one GitHub webhook delivery that Conductor has accepted; a Run is one integration-test run. Both live in Conductor's
// own namespace: Kubernetes holds all live state.
//
// +kubebuilder:object:generate=true
// +groupName=conductor.digitalservic.es
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "conductor.digitalservic.es", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Delivery{}, &DeliveryList{}, &Run{}, &RunList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
