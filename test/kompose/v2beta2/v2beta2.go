// Package v2beta2 lets Kompose compile with a Kubernetes API that has dropped this version: its types are those of autoscaling/v2, which
// have the same fields. Nothing that is measured uses them.
package v2beta2

import v2 "k8s.io/api/autoscaling/v2"

// The types that Kompose references.
type (
	CrossVersionObjectReference = v2.CrossVersionObjectReference
	HorizontalPodAutoscaler     = v2.HorizontalPodAutoscaler
	HorizontalPodAutoscalerSpec = v2.HorizontalPodAutoscalerSpec
	MetricSpec                  = v2.MetricSpec
	MetricTarget                = v2.MetricTarget
	ResourceMetricSource        = v2.ResourceMetricSource
)

// The constants that Kompose references.
const (
	ResourceMetricSourceType = v2.ResourceMetricSourceType
	UtilizationMetricType    = v2.UtilizationMetricType
)
