package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// maxStackImages is how many images a Run's status has room for.
const maxStackImages = 64

// Images are what a conversion knows of the images of a stack.
type Images struct {
	// References are what services run, by service, where the file does not say it.
	References map[string]string
	// Hooks are what the images of hooks stand for, by what the file names.
	Hooks map[string]string
	// Configs are what images say about themselves, by reference.
	Configs map[string]compose.ImageConfig
	// Pending are services whose image is still being built or looked up.
	Pending []string
}

// stackImages are the images of a Run's stack as far as they are known.
type stackImages struct {
	Images
	// ask are the references that the registries have to be asked about.
	ask []string
}

// exposes says whether the images of a service's pod name ports of their own.
func (i *stackImages) exposes(svc *compose.Service) bool {
	return slices.ContainsFunc(podServices(svc), func(name string) bool {
		return len(i.Configs[i.References[name]].ExposedPorts) > 0
	})
}

// podServices are the services whose containers run in a service's pod.
func podServices(svc *compose.Service) []string { return append([]string{svc.Name}, svc.Shares...) }

// lookUp has the registries asked about images of which nothing is known yet, and notes what they said. Nobody waits for them
// here: an answer wakes the Run. What a tag stands for is used when the Run has it, in the look after this one, so that a service is
// started again with what it was started with, whatever happens in between.
func (r *Reconciler) lookUp(s *state) {
	if s.images != nil || s.plan == nil {
		return
	}
	s.images = r.imagesOf(s.run, s.plan)
	r.noteAnswers(s)
}

// noteAnswers notes what has been answered so far, and asks what nobody has asked.
func (r *Reconciler) noteAnswers(s *state) {
	for _, ref := range s.images.ask {
		if l := r.looks.at(s.run, ref); l != nil {
			s.noteImage(ref, l)
			s.lookAgain(10 * time.Millisecond)
		}
	}
}

// imagesOf is what is known now; it asks nobody.
func (r *Reconciler) imagesOf(run *v1alpha1.Run, p *Plan) *stackImages {
	out := &stackImages{Images: Images{References: map[string]string{}, Hooks: map[string]string{}, Configs: map[string]compose.ImageConfig{}}}
	// find asks for what is not known of an image that a service needs. The name is empty while it is being built.
	find := func(service, name string) string {
		ref, config, known := r.stackImage(run, name)
		switch {
		case known && config != nil:
			out.Configs[ref] = *config
		case !known && !slices.Contains(out.Pending, service):
			out.Pending = append(out.Pending, service)
		}
		if !known && name != "" && !slices.Contains(out.ask, ref) {
			out.ask = append(out.ask, ref)
		}
		return ref
	}
	for _, service := range p.Project.Services() {
		for _, name := range p.Project.HookImages(service) {
			if b, ok := p.buildOf(name); ok {
				out.Hooks[name] = find(service, image(&run.Status, b).Reference())
			} else {
				out.Hooks[name] = find(service, name)
			}
		}
		if b, ok := p.ServiceBuilds[service]; ok {
			out.References[service] = find(service, image(&run.Status, b).Reference())
		} else if name, ok := p.Project.Image(service); ok {
			out.References[service] = find(service, name)
		}
	}
	return out
}

// stackImage is what an image's name stands for, and its configuration, which is nil where it could not be read. It is not known while
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
	if l := r.looks.known(run.UID, ref); l != nil && l.err == nil {
		return ref, &l.config, true
	}
	return ref, nil, false
}

func byDigest(ref string) bool { return strings.Contains(ref, "@") }

// noteImage notes what a tag stood for, and what could not be read. Of what is named by its digest nothing else needs to be noted: it
// reads the same whenever it is read.
func (s *state) noteImage(ref string, l *imageLook) {
	list := &s.status().StackImages
	entry := v1alpha1.StackImage{Name: ref}
	if l.err != nil {
		entry.Problem = cut(failure.Of(l.err).Sentence, 512)
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

// note tells what a reader of the Run should know, once. There is room for twenty notes.
func (s *state) note(text string) {
	if text = cut(text, 512); len(s.status().Notes) < 20 && !slices.Contains(s.status().Notes, text) {
		s.status().Notes = append(s.status().Notes, text)
	}
}

// maxFindings is how many notes the conversion has room for.
const maxFindings = 12

// noteFindings tells what was converted with a difference, and of which images no more is known than the file says.
func (s *state) noteFindings(stack *compose.Stack) {
	count := 0
	for _, f := range stack.Findings {
		if f.Level == compose.LevelInfo {
			continue
		}
		if count++; count <= maxFindings {
			s.note(f.String())
		}
	}
	if len(s.images.Pending) > 0 {
		return
	}
	if count > maxFindings {
		s.note(fmt.Sprintf("%d further notes on what behaves otherwise than under compose: conductor plan prints them all", count-maxFindings))
	}
	var names []string
	why := ""
	for _, i := range s.status().StackImages {
		if i.Problem != "" {
			names, why = append(names, i.Name), i.Problem
		}
	}
	const without = "HEALTHCHECK, EXPOSE and a cleared entrypoint's CMD are not known for"
	if len(names) > 0 {
		s.note(fmt.Sprintf("%s %s, which could not be looked up: %s", without, strings.Join(names, ", "), why))
	}
	if len(s.status().StackImages) >= maxStackImages {
		s.note(fmt.Sprintf("%s images after the first %d: no more are looked up", without, maxStackImages))
	}
}
