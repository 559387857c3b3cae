package auth

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keySet is the keys at one time. Immutable.
type keySet struct {
	named   map[string]*key   // by kid
	unnamed map[string]any    // by alg: one key's material, or a jwt.VerificationKeySet
	ofAlg   map[string][]*key // by alg: the named ones
	read    time.Time         // when the look at the source began; zero before the first
}

// newKeySet joins keys of the settings with those of a source. Where both have
// a kid, it is the settings' one.
func newKeySet(static, sourced []*key, read time.Time) *keySet {
	s := &keySet{named: map[string]*key{}, unnamed: map[string]any{}, ofAlg: map[string][]*key{}, read: read}
	for _, keys := range [][]*key{static, sourced} {
		for _, k := range keys {
			if k.id == "" {
				s.addUnnamed(k)
			} else if s.named[k.id] == nil {
				s.named[k.id] = k
				s.ofAlg[k.alg] = append(s.ofAlg[k.alg], k)
			}
		}
	}
	return s
}

func (s *keySet) addUnnamed(k *key) {
	switch have := s.unnamed[k.alg].(type) {
	case nil:
		s.unnamed[k.alg] = k.material
	case jwt.VerificationKeySet:
		have.Keys = append(have.Keys, k.material)
		s.unnamed[k.alg] = have
	default:
		s.unnamed[k.alg] = jwt.VerificationKeySet{Keys: []jwt.VerificationKey{have, k.material}}
	}
}
