package sessions

import (
	"sync"

	"github.com/hubbub-chat/hubbub/netpoll"
)

// Users counts the users of all sessions on this node; each guest is one. It
// goes through all of them. Never call it on a loop.
func (all *Sessions) Users() int {
	var (
		mu     sync.Mutex
		guests int
		names  = make(map[string]struct{})
		wg     sync.WaitGroup
	)
	for _, ln := range all.lanes {
		wg.Add(1)
		ln.loop.Post(func() {
			defer wg.Done()
			mu.Lock()
			defer mu.Unlock()
			ln.loop.Each(func(c *netpoll.Conn) {
				s, ok := c.Handler().(*session)
				switch {
				case !ok || !s.connected():
				case s.who == nil || s.who.user == "":
					guests++
				default:
					names[s.who.user] = struct{}{}
				}
			})
		})
	}
	wg.Wait()
	return guests + len(names)
}
