// Package schema says what is said and what is stored: the message, the names
// of channels, the codes of errors and closes, the two wire codecs, and the
// SQL migrations. Every other package speaks in these nouns; this one imports
// none of them.
//
// The wire is the Centrifuge client protocol, version 2, through the types
// and codecs of github.com/centrifugal/protocol. That module appears here and
// at the client's edge (server/sessions, loadgen), nowhere else.
//
// What comes from outside as JSON has one gate: CheckData and CheckClientData
// for data, CheckRequest for the object of a request, Unquote and HalfPair for
// names. Both encodings and every door ask these and no other parser, so that
// no two of them can disagree.
//
// Nothing here runs a goroutine. Encoder and Decoder hold scratch memory and
// belong to one goroutine each; everything else is immutable or a value.
package schema
