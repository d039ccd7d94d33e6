package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// maxStackImages is how many images a Run's status has room for.
const maxStackImages = 64

// stackImages are the images of a Run's stack as far as they are known.
type stackImages struct {
	plan.Images
	// ask are the references that the registries have to be asked about.
	ask []string
}

// exposes reports whether the images of a service's pod name ports of their own.
func (i *stackImages) exposes(svc *plan.Service) bool {
	return slices.ContainsFunc(podServices(svc), func(name string) bool {
		return len(i.Configs[i.References[name]].ExposedPorts) > 0
	})
}

// podServices are the services whose containers run in a service's pod.
func podServices(svc *plan.Service) []string { return append([]string{svc.Name}, svc.Shares...) }

// reconcileImages resolves the images of the stack to digests, reads their configurations, and has the Run planned again with them.
func (r *Reconciler) reconcileImages(_ context.Context, s *state) error {
	if s.plan == nil {
		return nil
	}
	s.images = r.knownImages(s.run, s.plan) // Builds may have ended in this reconcile.
	r.requestImages(s)
	if err := r.requestPlan(s); err != nil {
		return err
	}
	pending := pendingImages(s.plan)
	switch {
	case !s.isOpen(v1alpha1.ConditionImagesResolved):
	case len(s.plan.Uses) == 0:
		s.done(v1alpha1.ConditionImagesResolved, v1alpha1.ReasonNothingToDo, "The stack has no image")
	case len(pending) > 0:
		s.begin(v1alpha1.ConditionImagesResolved, "Resolving the images of "+text.Truncate(strings.Join(pending, ", "), 512))
	default:
		s.done(v1alpha1.ConditionImagesResolved, v1alpha1.ReasonDone, text.Plural(len(s.plan.Uses), "image")+" resolved")
	}
	return nil
}

// pendingImages are the services and suites whose images a plan does not know yet.
func pendingImages(p *loaded) []string {
	var names []string
	for _, svc := range p.Services {
		names = append(names, svc.Pending...)
	}
	for _, t := range p.Suites {
		if t.Pending {
			names = append(names, t.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// requestImages notes what registries have answered, and requests the images that are not known yet. An answer wakes the Run. A digest is
// used from the next reconcile on, when the status has it, so that a restart of Conductor starts a service with the same image.
func (r *Reconciler) requestImages(s *state) {
	for _, ref := range s.images.ask {
		if l := r.lookups.request(s.run, ref); l != nil {
			s.noteImage(ref, l)
			s.requeueAfter(10 * time.Millisecond)
		}
	}
}

// knownImages is what is known now of the images that a plan uses; it asks no registry.
func (r *Reconciler) knownImages(run *v1alpha1.Run, p *loaded) *stackImages {
	out := &stackImages{Images: plan.Images{References: map[string]string{}, Hooks: map[string]string{}, Configs: map[string]compose.ImageConfig{}}}
	if p == nil {
		return out
	}
	pending := map[string]bool{}
	for _, use := range p.Uses {
		name := use.Image
		if use.Build != "" {
			name = imageStatus(&run.Status, use.Build).Reference()
		}
		// The name is empty while the image is being built.
		ref, config, known := r.stackImage(run, name)
		if known && config != nil {
			out.Configs[ref] = *config
		}
		if !known {
			pending[use.Service] = true
			if name != "" && !slices.Contains(out.ask, ref) {
				out.ask = append(out.ask, ref)
			}
		}
		if use.Hook {
			out.Hooks[use.Image] = ref
		} else {
			out.References[use.Service] = ref
		}
	}
	for _, use := range p.Uses {
		if !pending[use.Service] && !slices.Contains(out.Known, use.Service) {
			out.Known = append(out.Known, use.Service)
		}
	}
	return out
}

// stackImage is what an image's name represents, and its configuration, which is nil where it could not be read. It is not known while
// it has to be asked for.
func (r *Reconciler) stackImage(run *v1alpha1.Run, name string) (ref string, config *compose.ImageConfig, known bool) {
	noted := slices.IndexFunc(run.Status.StackImages, func(i v1alpha1.StackImage) bool { return i.Name == name })
	ref = name
	switch {
	case name == "":
		return "", nil, false
	case noted >= 0 && run.Status.StackImages[noted].Problem != "":
		return run.Status.StackImages[noted].Reference(), nil, true
	case noted >= 0:
		ref = run.Status.StackImages[noted].Reference()
	case !byDigest(name):
		return name, nil, len(run.Status.StackImages) >= maxStackImages
	}
	l := r.lookups.answer(run.UID, ref)
	if l != nil && l.err == nil {
		return ref, &l.config, true
	}
	return ref, nil, l != nil && noted < 0 && len(run.Status.StackImages) >= maxStackImages // There is no room to note why.
}

func byDigest(ref string) bool { return strings.Contains(ref, "@") }

// noteImage notes the digest of a tag, or why an image could not be read. An image that is named by digest needs no note: it is the same
// whenever it is read.
func (s *state) noteImage(ref string, l *imageLookup) {
	list := &s.status().StackImages
	entry := v1alpha1.StackImage{Name: ref}
	if l.err != nil {
		entry.Problem = text.Truncate(failure.Of(l.err).Sentence, 512)
	} else if byDigest(ref) {
		return
	} else {
		entry.Digest = l.digest
	}
	i := slices.IndexFunc(*list, func(have v1alpha1.StackImage) bool { return have.Reference() == ref || have.Name == ref })
	switch {
	case i >= 0:
		(*list)[i].Problem = entry.Problem
	case len(*list) < maxStackImages:
		*list = append(*list, entry)
	}
}

// addNote adds a note for the readers of the Run, once. There is room for twenty.
func (s *state) addNote(sentence string) {
	if sentence = text.Truncate(sentence, 512); len(s.status().Notes) < 20 && !slices.Contains(s.status().Notes, sentence) {
		s.status().Notes = append(s.status().Notes, sentence)
	}
}

// maxFindings is how many notes the conversion has room for.
const maxFindings = 12

// addFindings notes what was converted with a difference, and which images could not be read.
func (s *state) addFindings() {
	count := 0
	notes := slices.DeleteFunc(slices.Clone(s.plan.Findings), func(f compose.Finding) bool { return f.Level == compose.LevelInfo })
	for _, line := range compose.Lines(notes) {
		if count++; count <= maxFindings {
			s.addNote(line)
		}
	}
	if slices.ContainsFunc(s.plan.Services, func(svc plan.Service) bool { return len(svc.Pending) > 0 }) {
		return
	}
	if count > maxFindings {
		s.addNote(fmt.Sprintf("%d further notes on what behaves otherwise than under compose: conductor plan prints them all", count-maxFindings))
	}
	var names []string
	why := ""
	for _, i := range s.status().StackImages {
		if i.Problem != "" {
			names, why = append(names, i.Name), i.Problem
		}
	}
	const without = "HEALTHCHECK, EXPOSE and CMD are ignored for"
	if len(names) > 0 {
		s.addNote(fmt.Sprintf("%s %s, whose configuration could not be read: %s", without, strings.Join(names, ", "), why))
	}
	if len(s.status().StackImages) >= maxStackImages {
		s.addNote(fmt.Sprintf("%s images after the first %d: no more are read", without, maxStackImages))
	}
}
