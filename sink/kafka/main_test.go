package kafka

import (
	"testing"

	"github.com/hubbub-chat/hubbub/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
