package agent

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// childServer names the API server to the test's own program when it is started as an agent.
const childServer = "AGENT_TEST_SERVER"

func TestMain(m *testing.M) {
	if server := os.Getenv(childServer); server != "" {
		if err := runChild(server); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild is an agent in a process of its own, whose address is the first line that it prints. It ends with its standard
// input, and collects garbage as `conductor agent` does.
func runChild(server string) error {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(40 << 20)
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server, QPS: -1})
	if err != nil {
		return err
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listen.Addr().(*net.TCPAddr).Port)
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	return Run(ctx, Config{
		Dir: os.Getenv("AGENT_TEST_DIR"), Listen: listen, Namespace: "stack", Tokens: os.Getenv("AGENT_TEST_TOKENS"), Secrets: os.Getenv("AGENT_TEST_SECRETS"),
		ArtifactsLimit: 512 << 20, LogLimit: 256 << 20, Kube: kube, Parse: parseLines,
	})
}

const (
	memoryPods = 4
	memoryText = 200 << 20
	// All lines have the same timestamp; none of them may count as read before.
	memoryLine = "2026-11-21T12:00:00.000000000Z a test prints %08d with s3cr3t-value and http://backend:3001/items, as tests do\n"
)

// logServer is an API server with pods that have ended, whose logs have memoryText bytes together.
func logServer(t *testing.T) *httptest.Server {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for i := range memoryPods {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p" + strconv.Itoa(i), Namespace: "stack", UID: types.UID(strconv.Itoa(i))}}
		p.Status.Phase = corev1.PodSucceeded
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
		list.Items = append(list.Items, p)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/log"):
			out := bufio.NewWriter(w)
			for i, n := 0, 0; n < memoryText/memoryPods; i++ {
				written, err := fmt.Fprintf(out, memoryLine, i)
				if err != nil {
					return
				}
				n += written
			}
			_ = out.Flush()
		case strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("sendInitialEvents") == "true":
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		case strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("watch") != "":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "/namespaces/stack/pods") && strings.HasPrefix(r.URL.Path, "/api/v1/"):
			_ = json.NewEncoder(w).Encode(list)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// A process that takes in 200 MiB of logs and hands them out stays below 64 MiB, the code of the API's types included.
func TestMemoryDoesNotGrowWithLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves 200 MiB")
	}
	w := newWorld(t)
	w.write(filepath.Join(w.secrets, "password"), "s3cr3t-value")
	w.client = New(Options{Key: func() ([]byte, error) { return []byte("key"), nil }})
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	tokens := t.TempDir()
	w.write(filepath.Join(tokens, TokenConductor), secret.Conductor)
	w.write(filepath.Join(tokens, TokenWrapper), secret.Wrapper)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childServer+"="+logServer(t).URL, "AGENT_TEST_DIR="+w.dir, "AGENT_TEST_TOKENS="+tokens, "AGENT_TEST_SECRETS="+w.secrets)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	w.ok(err)
	out, err := child.StdoutPipe()
	w.ok(err)
	w.ok(child.Start())
	t.Cleanup(func() { in.Close(); _ = child.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	w.ok(err)
	w.client.o.Port, err = strconv.Atoi(strings.TrimSpace(line))
	w.ok(err)
	w.remote = w.client.At(w.run, "127.0.0.1")
	began := time.Now()
	for st := w.state(); !allEnded(st.Logs); st, err = w.remote.State(t.Context(), st.Version, 30*time.Second) {
		w.ok(err)
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("the logs are at %+v", st.Logs)
		}
	}
	taken := time.Since(began)
	var text int64
	for _, l := range w.state().Logs {
		content, _, _, err := w.remote.Blob(t.Context(), evidence.LogPath(l.Pod, l.Container))
		w.ok(err)
		gz, err := gzip.NewReader(content)
		w.ok(err)
		n, err := io.Copy(io.Discard, gz)
		w.ok(err)
		content.Close()
		text += n
	}
	peak := peakMemory(t, child.Process.Pid)
	t.Logf("%d MiB of text in %s, peak %d MiB", text>>20, taken.Round(time.Millisecond), peak>>20)
	if peak > 64<<20 {
		t.Errorf("the agent took %d MiB", peak>>20)
	}
	lines := int64(memoryText/memoryPods/len(fmt.Sprintf(memoryLine, 0)) + 1)
	// A line is without its time in the log, and its secret is three characters.
	if want := memoryPods * lines * int64(len(fmt.Sprintf(memoryLine, 0))-len("2026-11-21T12:00:00.000000000Z ")-len("s3cr3t-value")+3); text != want {
		t.Errorf("%d bytes were handed out of %d", text, want)
	}
}

func allEnded(logs []evidence.LogFile) bool {
	for _, l := range logs {
		if !l.Ended {
			return false
		}
	}
	return len(logs) == memoryPods
}

// peakMemory is a process's most resident memory in bytes (proc(5), VmHWM).
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("this system does not tell a process's peak:", err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("there is no VmHWM")
	return 0
}
