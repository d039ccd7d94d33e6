// Command fakegithub serves the simulated GitHub as a process.
//
// It prints one line of JSON with its URL and the administration token, and runs until it is interrupted. State is set
// up through POST /_admin/<operation> with the token as bearer; see the package's README.
package main

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

func main() {
	log.SetFlags(0)
	var o githubtest.Options
	flag.StringVar(&o.Address, "address", "127.0.0.1:0", "host:port to listen on")
	flag.StringVar(&o.URL, "url", "", "how clients reach the server; by default the address")
	flag.StringVar(&o.Dir, "dir", "", "where git repositories are kept; by default a temporary directory")
	flag.StringVar(&o.AdminToken, "admin-token", os.Getenv("GITHUB_ADMIN_TOKEN"), "token of the administration API; random when empty")
	flag.IntVar(&o.ContentLimit, "content-limit", 0, "content-creating requests per minute before the secondary limit; 0 is none")
	flag.IntVar(&o.ContentHourLimit, "content-hour-limit", 0, "content-creating requests per hour before the secondary limit; 0 is none")
	flag.IntVar(&o.PointLimit, "point-limit", 0, "points per minute before the secondary limit, 1 for a read and 5 for a write; 0 is none")
	flag.BoolVar(&o.Enterprise, "enterprise", false, "behave as GitHub Enterprise Server 3.19")
	flag.BoolVar(&o.TLS, "tls", false, "serve HTTPS with a certificate for 127.0.0.1 and example.com")
	flag.Parse()
	if o.AdminToken == "" {
		o.AdminToken = rand.Text()
	}
	s, err := githubtest.New(o)
	if err != nil {
		log.Fatal(err)
	}
	ready := map[string]string{"url": s.URL, "api": s.APIURL(), "adminToken": o.AdminToken}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	s.Close()
	for _, v := range s.Violations() {
		log.Println(v)
	}
}
