package compose

import (
	"fmt"
	"strings"
	"testing"
)

// each is a text for each number that depends on it.
func each(n int, text func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(text(i))
	}
	return b.String()
}

// TestWorstWithinBounds are files that use up a bound, or what is quadratic if it is written without care. Each is cheap, whether it is refused
// or not: below what the child process has that plans.
func TestWorstWithinBounds(t *testing.T) {
	manyServices := func(n int, format string) string { return "services:\n" + numbered(n, format) }
	cases := map[string]map[string]string{
		"values in services":    {DefaultFile: manyServices(480, "  sN: {image: x, environment: *e}\n") + "x-y: 1\n"},
		"values in extensions":  {DefaultFile: service + "x-a: &a [" + numbered(900, "N,") + "]\nx-b: [" + strings.Repeat("*a,", 54) + "]\n"},
		"long texts":            {DefaultFile: service + "    command: [" + strings.Repeat("\"$A\",", 38) + "]\n", ".env": "A=" + strings.Repeat("x ", 50<<10) + "\n"},
		"deep lists":            {DefaultFile: service + "x-a: " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "\n"},
		"a megabyte of commas":  {DefaultFile: service + "x-a: [" + strings.Repeat("a,", 500_000) + "]\n"},
		"a megabyte of maps":    {DefaultFile: service + "x-a: [" + strings.Repeat("{},", 330_000) + "]\n"},
		"a megabyte of lines":   {DefaultFile: service + "x-a:\n" + strings.Repeat("- \n", 330_000)},
		"a megabyte of gaps":    {DefaultFile: service + "    command: |\n" + strings.Repeat("      $a $b $c $d $e $f $g $h $i $j $k $l $m $n $o $p $q\n", 15_000)},
		"comments of variables": {DefaultFile: service, ".env": strings.Repeat("#\n", 9_999)},
		"dependencies": {DefaultFile: manyServices(450, "") + each(450, func(i int) string {
			return fmt.Sprintf("  s%d: {image: x, depends_on: [%s]}\n", i, each(min(i, 100), func(j int) string { return fmt.Sprintf("s%d,", i-j-1) }))
		})},
		"dependencies of guests": {DefaultFile: "services:\n  host: {image: x}\n" + each(200, func(i int) string {
			return fmt.Sprintf("  d%d: {image: x, depends_on: [%s]}\n", i, each(min(i, 100), func(j int) string { return fmt.Sprintf("d%d,", i-j-1) }))
		}) +
			each(250, func(i int) string {
				return fmt.Sprintf("  g%d: {image: x, network_mode: \"service:host\", depends_on: [%s]}\n", i, numbered(100, "dN,"))
			})},
		"networks": {DefaultFile: manyServices(0, "") + each(400, func(i int) string {
			return fmt.Sprintf("  s%d: {image: x, networks: [%s]}\n", i, each(100, func(j int) string { return fmt.Sprintf("n%d,", (i*7+j)%900) }))
		}) + "networks:\n" + numbered(900, "  nN: {internal: true}\n")},
		"further names":       {DefaultFile: manyServices(1, "  sN:\n    image: x\n    networks:\n      default:\n        aliases: ["+numbered(900, "aN,")+"]\n")},
		"shared names":        {DefaultFile: "x-n: &n {default: {aliases: [" + numbered(90, "aN,") + "]}}\n" + manyServices(400, "  sN: {image: x, networks: *n}\n")},
		"names of no host":    {DefaultFile: manyServices(450, "  sN: {image: x, container_name: a_N, command: \"$A\"}\n"), ".env": "A=" + numbered(450, "a_N ") + "\n"},
		"names in texts":      {DefaultFile: manyServices(450, "  s_N: {image: x, command: \"$A\"}\n"), ".env": "A=" + numbered(450, "http://s_N:80/ ") + "\n"},
		"names in a file":     {DefaultFile: manyServices(400, "  s_N: {image: x, volumes: [\"./f:/f:ro\"]}\n"), "f": strings.Repeat("http://s_1:80 s_2 s_3 s_4:x ", 30_000)},
		"names that remain":   {DefaultFile: manyServices(400, "  s_N: {image: x, volumes: [\"./f:/f:ro\"], env_file: v.env}\n"), "f": strings.Repeat("a: s_1\nb: 's_2' s_3 s_4\n", 30_000), "v.env": numbered(60, "AN=s_N,s_2 s_3\n")},
		"names of containers": {DefaultFile: manyServices(400, "  s-N: {image: x, command: \"$A\"}\n"), ".env": "A=" + strings.Repeat("a-s-1-s-2-s-9-", 30) + "1 " + strings.Repeat("a-a-s-1-1 localhost:80 172.17.0.1 ", 60) + "\n"},
		"names on networks": {DefaultFile: "services:\n" + each(120, func(i int) string {
			return fmt.Sprintf("  s%d: {image: x, networks: {n%d: {aliases: [%s]}, m: }}\n", i, i, numbered(90, "aN,"))
		}) + each(300, func(i int) string {
			return fmt.Sprintf("  t%d: {image: x, networks: [m, n%d, %s]}\n", i, i%120, each(40, func(j int) string { return fmt.Sprintf("n%d,", (i+j*3+1)%120) }))
		}) + "networks:\n  m:\n" + numbered(120, "  nN:\n")},
		"names of hosts":   {DefaultFile: manyServices(450, "  sN: {image: x, hostname: s_N.example.com, command: \"$A\"}\n"), ".env": "A=" + numbered(300, "s_N.example.com ") + "\n"},
		"hooks":            {DefaultFile: service + "    pre_start: [" + strings.Repeat("{command: x},", 2000) + "]\n"},
		"hooks and mounts": {DefaultFile: service + "    volumes: [" + numbered(240, "/vN,") + "]\n    pre_start: [" + strings.Repeat("{command: x},", 180) + "]\n"},
		"limits": {DefaultFile: service + "    ulimits: {" + each(40_000, func(i int) string {
			return strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i)) + ": 1,"
		}) + "}\n"},
		"hosts of guests": {DefaultFile: "services:\n  host: {image: x}\n" + each(40, func(i int) string {
			return fmt.Sprintf("  g%d: {image: x, network_mode: \"service:host\", extra_hosts: [%s]}\n", i, each(300, func(j int) string { return fmt.Sprintf("h%d-%d=10.%d.%d.%d,", i, j, i, j/250, j%250) }))
		})},
		"groups of guests": {DefaultFile: "services:\n  host: {image: x}\n" + each(40, func(i int) string {
			return fmt.Sprintf("  g%d: {image: x, network_mode: \"service:host\", group_add: [%s]}\n", i, each(300, func(j int) string { return fmt.Sprintf("%d,", i*300+j) }))
		})},
		"volumes of others": {DefaultFile: "services:\n  s0: {image: x}\n" + each(450, func(i int) string {
			return fmt.Sprintf("  s%d: {image: x, volumes_from: [s%d], volumes: [%s]}\n", i+1, i, each(20, func(j int) string { return fmt.Sprintf("/v%d,", i*20+j) }))
		})},
		"mounts of sources": {DefaultFile: "x-v: &v [" + numbered(200, "\"./src/N:/m/N\",") + "]\n" + manyServices(40, "  sN: {build: ., volumes: *v}\n"), "Dockerfile": "FROM x\n" + strings.Repeat("COPY a/b/c d/\n", 20_000), "src/1/f": "x"},
		"sources and patterns": {
			DefaultFile:  "x-v: &v [" + numbered(200, "\"./src/N:/m/N\",") + "]\n" + manyServices(40, "  sN: {build: {context: ., args: [A=N]}, volumes: *v}\n"),
			"Dockerfile": "FROM x\n" + strings.Repeat("COPY src /m\n", maxSteps), ".dockerignore": numbered(50_000, "**/aN*b\n"), "src/1/f": "x", "src/2/f": "x",
		},
		"doubled variables":  {DefaultFile: manyServices(40, "  sN: {build: {context: ., args: [A=N]}, volumes: [\"./src:/m\"]}\n"), "Dockerfile": "FROM x\nENV A=xxxxxxxx\n" + strings.Repeat("ENV A=$A$A\n", 20_000) + strings.Repeat("WORKDIR "+strings.Repeat("$A", 500)+"\n", 500) + "COPY src /m\n", "src/f": "x"},
		"stages":             {DefaultFile: manyServices(40, "  sN: {build: {context: ., args: [A=N]}, volumes: [\"./src:/m\"]}\n"), "Dockerfile": "FROM x AS s0\n" + numbered(45_000, "FROM s0 AS sN\n") + "COPY src /m\n", "src/f": "x"},
		"nested mounts":      {DefaultFile: service + "    volumes: [" + each(200, func(i int) string { return fmt.Sprintf("\"./%s:/m/%d\",", strings.Repeat("d/", i+1), i) }) + "]\n", strings.Repeat("d/", 201) + "f": "x"},
		"ports":              {DefaultFile: manyServices(30, "  sN: {image: x, ports: [\"1-250:1-250\"]}\n")},
		"exposed ports":      {DefaultFile: "x-e: &e [" + numbered(300, "1-249,") + "]\n" + manyServices(50, "  sN: {image: x, expose: *e}\n")},
		"links":              {DefaultFile: "services:\n  s: {image: x}\n  t: {image: x, links: [" + numbered(8_000, "\"s:a_N\",") + "]}\n"},
		"build arguments":    {DefaultFile: "services:\n  s: {build: {context: ., args: [" + numbered(12_000, "AN=$B,") + "]}}\n", "Dockerfile": "FROM x\n"},
		"env files":          {DefaultFile: manyServices(400, "  sN: {image: x, env_file: [a.env, b.env]}\n"), "a.env": numbered(700, "AN=b\n"), "b.env": numbered(50, "BN=$A1$A2\n")},
		"documents":          {DefaultFile: strings.Repeat(manyServices(100, "  sN: {image: x}\n")+"---\n", 19)},
		"a chain of extends": {DefaultFile: "services:\n  s0: {image: x, environment: {A: b}}\n" + each(110, func(i int) string { return fmt.Sprintf("  s%d: {extends: s%d, environment: {A%d: b}}\n", i+1, i, i) })},
		"labels":             {DefaultFile: service + "    labels: [" + numbered(12_000, "aN=b,") + "]\n"},
	}
	cases["values in services"][DefaultFile] = "x-e: &e {" + numbered(95, "AN: b,") + "}\n" + cases["values in services"][DefaultFile]
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			dir := write(t, files)
			var err error
			spent := measured(t, func() {
				var p *Project
				if p, err = Load(dir, LoadOptions{}); err == nil {
					_, err = Convert(p, Options{Source: sourceMounts()})
				}
			})
			t.Logf("%-22s %6dms %5d MiB allocated, heap + %3d MiB: %.100v", name, spent.time.Milliseconds(), spent.allocated>>20, spent.heap>>20, err)
			if spent.time > mostFuzzTime/2 || spent.heap > mostFuzzHeap {
				t.Errorf("it took %s, and the heap grew by %d MiB", spent.time, spent.heap>>20)
			}
		})
	}
}
