package report

import (
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// TimeLeft returns how long a Run will probably still take, in words; "" if that is not known. The words are coarse and name the time of
// day, since they stay on GitHub until the next stage: they are not a reason to write.
func TimeLeft(run *v1alpha1.Run, now time.Time) string {
	left, known := timeLeft(run, now)
	if !known {
		return ""
	}
	if left <= 0 {
		return "any moment now"
	}
	return "about " + coarse(left) + " left, until " + now.Add(left).UTC().Round(time.Minute).Format("15:04") + " UTC"
}

// timeLeft is the time until the last suite ends, and whether it is known. Suites run one after the other.
func timeLeft(run *v1alpha1.Run, now time.Time) (sum time.Duration, known bool) {
	if run.Status.Report == nil || run.Status.Report.Expected == nil || run.Status.Outcome != "" || run.Spec.Cancel != nil || len(run.Status.Suites) == 0 {
		return 0, false
	}
	usual := run.Status.Report.Expected
	for _, s := range run.Status.Suites {
		seconds, ok := usual.Suites[s.Name]
		switch {
		case !ok:
			return 0, false
		case s.Outcome != "":
		case s.StartedAt != nil:
			sum += remaining(seconds, s.StartedAt.Time, now)
		default:
			sum += remaining(seconds, now, now)
		}
	}
	begun := stageTime(run, "secrets").StartedAt
	switch {
	case stageTime(run, "tests").StartedAt != nil:
	case begun == nil || usual.Setup <= 0:
		return 0, false
	default:
		sum += remaining(usual.Setup, begun.Time, now)
	}
	return sum, true
}

// remaining is what is left of a usual time, in seconds, that began at a time.
func remaining(usual int32, since, now time.Time) time.Duration {
	return max(0, time.Duration(usual)*time.Second-max(0, now.Sub(since)))
}

// coarse rounds up a duration: to minutes, from ten minutes on to five, from an hour on to a quarter of an hour.
func coarse(d time.Duration) string {
	step := time.Minute
	switch {
	case d > time.Hour:
		step = 15 * time.Minute
	case d > 10*time.Minute:
		step = 5 * time.Minute
	}
	d = (d + step - 1) / step * step
	if hours := d / time.Hour; hours > 0 {
		return text.Plural(int(hours), "hour") + minutes(d%time.Hour, " ")
	}
	return minutes(d, "")
}

func minutes(d time.Duration, before string) string {
	if d == 0 {
		return ""
	}
	return before + text.Plural(int(d/time.Minute), "minute")
}
