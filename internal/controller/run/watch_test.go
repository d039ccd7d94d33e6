package run

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// podServer is an API server without pods. Of one namespace it answers so many requests and no more.
type podServer struct {
	namespace string
	answers   atomic.Int64
	// held gets a value for each request that is not answered.
	held chan struct{}
}

func (s *podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/"+s.namespace+"/") {
		if s.answers.Add(-1) < 0 {
			s.held <- struct{}{}
			<-r.Context().Done()
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	q := r.URL.Query()
	switch {
	case q.Get("sendInitialEvents") == "true":
		fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`)
	case q.Get("watch") == "":
		fmt.Fprintln(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
		return
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// The API server answers nothing about the pods of one stack, or only that they may be listed: no other Run waits for that.
func TestAStackWhosePodsCannotBeListedDelaysNoOther(t *testing.T) {
	slow, other := testRun("slow", "1"), testRun("other", "2")
	for answers := range 2 {
		t.Run(fmt.Sprint(answers, " answers"), func(t *testing.T) {
			api := &podServer{namespace: jobs.StackName(slow), held: make(chan struct{}, 16)}
			api.answers.Store(int64(answers))
			server := httptest.NewServer(api)
			kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			r := opened(&Reconciler{Kube: kube})
			pods := r.stacks
			t.Cleanup(func() {
				r.close()
				server.CloseClientConnections()
				server.Close()
			})
			waited := make(chan error, 1)
			go func() {
				_, err := pods.pods(t.Context(), slow)
				waited <- err
			}()
			<-api.held
			listed := make(chan error, 1)
			go func() {
				_, err := pods.pods(t.Context(), other)
				for failure.Of(err) != nil && failure.Of(err).Kind == failure.Waiting {
					<-pods.wake
					_, err = pods.pods(t.Context(), other)
				}
				pods.forget(other.UID)
				listed <- err
			}()
			select {
			case err := <-listed:
				if err != nil {
					t.Errorf("the pods of the other Run: %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the other Run waits")
			}
			if answers == 0 {
				return // Its own request is as long as the client's patience.
			}
			if f := failure.Of(<-waited); f == nil || f.Kind != failure.Waiting {
				t.Errorf("the Run itself: %v, want a wait", f)
			}
		})
	}
}
