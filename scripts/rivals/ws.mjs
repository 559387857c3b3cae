// The chat server that everybody writes first: the `ws` package, a set of sockets per room, and a loop
// that sends what came to each of them. Nothing is stored, numbered or acknowledged.
import { WebSocketServer } from 'ws'

const rooms = new Map()
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.env.PORT ?? 0), perMessageDeflate: false, backlog: 4096 })

server.on('connection', (socket, request) => {
  const name = request.url
  if (!rooms.has(name)) rooms.set(name, new Set())
  const room = rooms.get(name).add(socket)
  socket.on('message', (data, binary) => {
    for (const member of room) member.send(data, { binary })
  })
  socket.on('close', () => room.delete(socket))
  socket.on('error', () => {}) // 'close' follows
})
server.on('listening', () => console.log(`ws://127.0.0.1:${server.address().port}/{room}`))
