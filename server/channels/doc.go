// Package channels knows what a channel's name means and who may do what in
// it.
//
// Nouns: Options are the rules of a namespace; Namespaces is all of them, as
// the configuration file says; a Caller is who asks; an Action is what for.
// Authorize is the one place where that is decided, for clients and for the
// server API alike.
//
// Names: "chat:42" is in the namespace chat; "$team" and "chat:$team" are
// private and want a token or a capability; "@alice,bob" is the direct-message
// room of these two, their names sorted, and of nobody else.
//
// Everything here is immutable after Parse.
package channels
