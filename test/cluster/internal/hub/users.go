package hub

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// UsersFile reads the accounts from a file that only its owner can read. Create
// makes the file, with new random passwords, when it is not there.
func UsersFile(path string, create bool) (Users, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		text, err = json.Marshal(Users{Pusher: rand.Text(), Puller: rand.Text()})
		if err != nil {
			return nil, err
		}
		err = cache.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	var users Users
	return users, json.Unmarshal(text, &users)
}
