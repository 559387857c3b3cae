module github.com/hubbub-chat/hubbub

go 1.26.0

require (
	github.com/centrifugal/protocol v0.23.1
	github.com/google/go-cmp v0.7.0
)

require google.golang.org/protobuf v1.36.12 // indirect
