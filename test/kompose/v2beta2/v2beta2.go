// Package v2beta2 lets Kompose be compiled beside a Kubernetes API that has this group's version no more: its types are those of
// autoscaling/v2, which has the same fields. Nothing that is measured makes one of them.
package v2beta2

import v2 "k8s.io/api/autoscaling/v2"

// The types that Kompose names.
type (
	CrossVersionObjectReference = v2.CrossVersionObjectReference
	HorizontalPodAutoscaler     = v2.HorizontalPodAutoscaler
	HorizontalPodAutoscalerSpec = v2.HorizontalPodAutoscalerSpec
	MetricSpec                  = v2.MetricSpec
	MetricTarget                = v2.MetricTarget
	ResourceMetricSource        = v2.ResourceMetricSource
)

// The constants that Kompose names.
const (
	ResourceMetricSourceType = v2.ResourceMetricSourceType
	UtilizationMetricType    = v2.UtilizationMetricType
)
