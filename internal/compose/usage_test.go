package compose

import (
	"strings"
	"testing"
)

// TestUsage classifies every NAME in a text. A false isHost would rewrite the name of something else.
func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		key, text, file string
		want            string // One letter for each NAME: h for isHost, u for unclear, - for notHost.
	}{
		{text: "http://NAME/x https://NAME:8080 amqp://u:p@NAME", want: "hhh"},
		{text: "http://NAME:$PORT/ redis://NAME:${PORT}", want: "hh"},
		{text: "postgres://NAME:NAME@NAME/NAME?host=NAME&user=NAME", want: "--h-h-"},
		{text: "postgres://NAME:1234@other/x", want: "-"},
		{text: "jdbc:oracle:thin:@NAME:1521:XE u:p@tcp(NAME)/x u:p@tcp(NAME:3306)/x", want: "hhh"},
		{text: "ssh root@NAME npm i @NAME/core", want: "h-"},
		{text: "NAME:5432,NAME:5433 NAME:80/x", want: "hhh"},
		{text: "NAME:1:1 NAME:1.0 NAME:latest NAME:/srv x/NAME:1 user:NAME", want: "------"},
		{text: "Server=NAME;Database=NAME;User Id=NAME", want: "h--"},
		{text: "Server=NAME,1433;Initial Catalog=NAME", want: "h-"},
		{text: "Host=NAME;Port=5432;Username=NAME", want: "h-"},
		{text: "Driver={x};Data Source=NAME;UID=NAME", want: "hu"},
		{text: "host=NAME port=5432 dbname=NAME hostaddr=NAME", want: "h-h"},
		{text: "--db-host=NAME --host NAME -h NAME -H NAME --db-name=NAME --user NAME -U NAME -d NAME", want: "hhhh----"},
		{text: "DB_HOST=NAME VHOST=NAME db.hostname=NAME SERVER_TITLE=NAME HOST_USER=NAME", want: "h-h--"},
		{text: "server NAME; server_name NAME;", want: "hu"},
		{text: "ping NAME && nc -z NAME 5432 && cd NAME && ./NAME/x && createdb NAME", want: "uu---"},
		{text: "$NAME ${NAME} NAME=1 NAME() NAME[0] /NAME /x/NAME NAME/x", want: "--------"},
		{text: "uvicorn NAME:app", want: "-"},
		{key: "DB_HOST", text: "NAME", want: "h"},
		{key: "DB_HOSTS", text: "NAME, b;NAME", want: "hh"},
		{key: "API_ENDPOINT", text: "the NAME of x", want: "u"},
		{key: "API_URL", text: "NAME/v1", want: "u"},
		{key: "DATABASE_URL", text: "NAME", want: "h"},
		{key: "PRIMARY", text: "NAME", want: "u"},
		{key: "DB", text: "NAME,b", want: "u"},
		{key: "DATABASE", text: "NAME:5432", want: "u"},
		{key: "USER_SERVICE", text: "NAME:8080", want: "h"},
		{key: "USER_SERVICE", text: "NAME", want: "u"},
		{text: "connect to NAME:5432", want: "h"},
		{key: "POSTGRES_DB", text: "NAME", want: "-"},
		{key: "HOST_PROJECT", text: "NAME", want: "-"},
		{key: "RABBITMQ_DEFAULT_VHOST", text: "NAME", want: "-"},
		{key: "KAFKA_BROKER_TOPIC", text: "NAME", want: "-"},
		{key: "EMAIL_HOST_USER", text: "NAME", want: "-"},
		{key: "DB_HOST_STAGING", text: "NAME", want: "h"},
		{key: "S3_BUCKET", text: "NAME,NAME", want: "--"},
		{key: "-h", text: "NAME", want: "h"},
		{key: "--redis-host", text: "NAME", want: "h"},
		{key: "-d", text: "NAME", want: "-"},
		{key: "--name", text: "NAME", want: "-"},
		{key: "-x", text: "NAME", want: "u"},
		{file: "a.yaml", text: "host: NAME\nname: NAME\ndb: NAME\nall: [a]\nlist:\n  - NAME\nNAME:\n  x: 1\n# see NAME\n", want: "h-uu--"},
		{file: "a.json", text: `{"hostname": "NAME", "topic": "NAME", "main": "NAME", "NAME": 1}`, want: "h-u-"},
		{file: "a.ini", text: "host = NAME\nmain = NAME\nuser = NAME\n", want: "hu-"},
		{file: "nginx.conf", text: "upstream x { server NAME; }\nserver_name NAME;\nproxy_pass http://NAME;\n", want: "huh"},
		{file: "a.py", text: "import NAME\nhost = NAME\nx(host='NAME', db=NAME)\nx('NAME', 80)\nf(\"NAME\")\n", want: "--h-u-"},
		{file: "init.sql", text: "CREATE DATABASE NAME; GRANT x TO 'NAME';", want: "--"},
		{file: "README.md", text: "host: NAME and NAME, http://NAME/", want: "--h"},
		{file: "web/package.json", text: `{"workspaces": ["NAME"]}`, want: "-"},
		{file: "settings.py", text: "APPS = [\n    'a',\n    'NAME',\n]\nNAME = NAME.x('NAME')\n", want: "----"},
		{file: "docker-compose.dev.yml", text: "depends_on:\n  - NAME\n", want: "-"},
	} {
		p := phrase{text: strings.ReplaceAll(tc.text, "NAME", "my_db"), key: tc.key, file: tc.file}
		got, from := "", 0
		for before := range strings.SplitSeq(tc.text, "NAME") {
			if from += len(before); len(got) < len(tc.want) {
				got += map[usage]string{isHost: "h", unclear: "u", notHost: "-"}[p.usage(from, from+len("my_db"))]
				from += len("my_db")
			}
		}
		if got != tc.want || len(got) != strings.Count(tc.text, "NAME") {
			t.Errorf("%s %s %q: %s, want %s", tc.file, tc.key, p.text, got, tc.want)
		}
	}
}

// TestArguments finds what the elements of a command are to their program.
func TestArguments(t *testing.T) {
	for _, tc := range []struct {
		args []string
		at   int
		want usage
	}{
		{[]string{"my_db", "serve"}, 0, notHost},
		{[]string{"sh", "-c", "my_db serve"}, 2, notHost},
		{[]string{"sh", "-c", "exec my_db"}, 2, notHost},
		{[]string{"bash", "-lc", "true && my_db"}, 2, notHost},
		{[]string{"sh", "-c", "ping my_db"}, 2, unclear},
		{[]string{"ping", "my_db"}, 1, unclear},
		{[]string{"psql", "-h", "my_db"}, 2, isHost},
		{[]string{"psql", "-U", "my_db"}, 2, notHost},
		{[]string{"celery", "-A", "my_db"}, 2, notHost},
		{[]string{"python", "-m", "my_db"}, 2, notHost},
		{[]string{"x", "--db-host=my_db"}, 1, isHost},
	} {
		p := argument(tc.args, tc.at)
		from := strings.Index(p.text, "my_db")
		if got := p.usage(from, from+len("my_db")); got != tc.want {
			t.Errorf("%q: %d, want %d", tc.args, got, tc.want)
		}
	}
}
