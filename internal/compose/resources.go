package compose

import (
	"math"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Requests of a container without reservations in the file. They are small so that a stack fits wherever compose would fit it.
var (
	defaultCPU    = resource.MustParse("10m")
	defaultMemory = resource.MustParse("32Mi")
)

// totals are the requests of all pods of a stack.
type totals struct {
	cpu, memory resource.Quantity
	pods        int64
}

// resources sets limits where the file has them, and requests always: without one a limit would be the request, and a
// limit of two CPUs fits no node of two.
func (u *unit) resources() {
	limits, requests := corev1.ResourceList{}, corev1.ResourceList{}
	s := u.s
	set := func(list corev1.ResourceList, name corev1.ResourceName, field string, q *resource.Quantity) {
		if q != nil && q.Sign() > 0 {
			list[name] = *q
			u.checkCeiling(name, field, *q)
		}
	}
	set(limits, corev1.ResourceCPU, "cpus", cpu(float64(s.CPUS)))
	set(limits, corev1.ResourceMemory, "mem_limit", amount(s.MemLimit))
	if s.CPUQuota > 0 {
		period := s.CPUPeriod
		if period <= 0 {
			period = 100_000
		}
		set(limits, corev1.ResourceCPU, "cpu_quota", cpu(float64(s.CPUQuota)/float64(period)))
	}
	set(requests, corev1.ResourceMemory, "mem_reservation", amount(s.MemReservation))
	set(requests, corev1.ResourceCPU, "cpu_shares", cpu(float64(s.CPUShares)/1024))
	if s.Deploy != nil {
		if l := s.Deploy.Resources.Limits; l != nil {
			set(limits, corev1.ResourceCPU, "deploy.resources.limits.cpus", cpu(float64(l.NanoCPUs)))
			set(limits, corev1.ResourceMemory, "deploy.resources.limits.memory", amount(l.MemoryBytes))
		}
		if r := s.Deploy.Resources.Reservations; r != nil {
			set(requests, corev1.ResourceCPU, "deploy.resources.reservations.cpus", cpu(float64(r.NanoCPUs)))
			set(requests, corev1.ResourceMemory, "deploy.resources.reservations.memory", amount(r.MemoryBytes))
		}
	}
	request(requests, limits, corev1.ResourceCPU, defaultCPU)
	request(requests, limits, corev1.ResourceMemory, defaultMemory)
	u.container.Resources.Requests = requests
	if len(limits) > 0 {
		u.container.Resources.Limits = limits
	}
	for range u.out.Replicas {
		u.c.totals.cpu.Add(requests[corev1.ResourceCPU])
		u.c.totals.memory.Add(requests[corev1.ResourceMemory])
	}
}

// request fills in a request and keeps it below the limit, as the API server wants it.
func request(requests, limits corev1.ResourceList, name corev1.ResourceName, otherwise resource.Quantity) {
	q, ok := requests[name]
	if !ok {
		q = otherwise
	}
	if l, ok := limits[name]; ok && l.Cmp(q) < 0 {
		q = l
	}
	requests[name] = q
}

// cpu is a number of CPUs in thousandths, the finest that Kubernetes schedules by; nil for none.
func cpu(n float64) *resource.Quantity {
	if n <= 0 || n > 1e6 {
		return nil
	}
	return resource.NewMilliQuantity(int64(math.Max(1, math.Round(n*1000))), resource.DecimalSI)
}

func amount(n types.UnitBytes) *resource.Quantity {
	if n <= 0 {
		return nil
	}
	return resource.NewQuantity(int64(n), resource.BinarySI)
}

// ceiling is the operator's limit on a resource; nil for none.
func (c *converter) ceiling(name corev1.ResourceName) *resource.Quantity {
	text := c.o.Ceilings.CPU
	if name == corev1.ResourceMemory {
		text = c.o.Ceilings.Memory
	}
	q, err := resource.ParseQuantity(text)
	if text == "" || err != nil {
		return nil
	}
	return &q
}

func (u *unit) checkCeiling(name corev1.ResourceName, field string, q resource.Quantity) {
	if most := u.c.ceiling(name); most != nil && q.Cmp(*most) > 0 {
		u.refuse(field, "", "%s is above the operator's limit of %s for a stack (stacks.%s)", q.String(), most.String(), name)
	}
}

// checkTotals refuses a stack above the operator's ceilings before anything is built.
func (c *converter) checkTotals() {
	for name, sum := range map[corev1.ResourceName]resource.Quantity{corev1.ResourceCPU: c.totals.cpu, corev1.ResourceMemory: c.totals.memory} {
		if most := c.ceiling(name); most != nil && sum.Cmp(*most) > 0 {
			c.refuseStack("all services together request %s of %s; the operator allows a stack %s (stacks.%s)",
				sum.String(), name, most.String(), name)
		}
	}
	if most := int64(c.o.Ceilings.Pods); most > 0 && c.totals.pods > most {
		c.refuseStack("all services together are %d pods; the operator allows a stack %d (stacks.pods)", c.totals.pods, most)
	}
}
