module k8s.io/api/autoscaling/v2beta2

go 1.26.8

require k8s.io/api v0.37.2
