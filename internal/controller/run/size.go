package run

import (
	"encoding/json"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// maxStatus is how large a Run's status may be in bytes: with its spec it stays below 64 KiB, and a thousand Runs fit into an
// informer's memory and into etcd.
const maxStatus = 56 << 10

// boundStatus shortens the texts of a status, all alike, until it is small enough. Logs keep their end, sentences their beginning.
func boundStatus(st *v1alpha1.RunStatus) {
	for _, text := range []int{8192, 2048, 512, 128, 16} {
		for i := range st.Suites {
			st.Suites[i].Log, st.Suites[i].Message = last(st.Suites[i].Log, text), cut(st.Suites[i].Message, min(text, 2048))
		}
		for i := range st.Images {
			st.Images[i].Log = last(st.Images[i].Log, text)
		}
		for i := range st.Services {
			st.Services[i].Message = cut(st.Services[i].Message, min(text, 2048))
			st.Services[i].URLProblem = cut(st.Services[i].URLProblem, min(text, 2048))
		}
		for i := range st.StackImages {
			st.StackImages[i].Problem = cut(st.StackImages[i].Problem, min(text, 512))
		}
		for i := range st.Notes {
			st.Notes[i] = cut(st.Notes[i], min(text, 512))
		}
		if data, err := json.Marshal(st); err == nil && len(data) <= maxStatus {
			return
		}
	}
}
