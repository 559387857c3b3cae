// The app: puts the parts together and decides what is on the screen.

import { paintAvatar } from './avatar.js';
import { Composer } from './composer.js';
import { Connection } from './connection.js';
import { Drawers } from './drawers.js';
import { roomLabel } from './names.js';
import { Pass } from './pass.js';
import { People } from './people.js';
import { Profile } from './profile.js';
import { Room } from './room.js';
import { hashOf, roomName, roomOfHash, RoomList } from './roomlist.js';
import { Scroller } from './scroller.js';
import { Transcript } from './transcript.js';

const $ = (id) => document.getElementById(id);

const connection = new Connection();
const rooms = new Map(); // name → Room, for every room of the list
let current; // the Room on the screen
let painting = false;

const roomList = new RoomList($('room-list'), leave);
const people = new People({
  button: $('open-people'), count: $('crowd-count'), stack: $('crowd-stack'),
  heading: $('people-count'), list: $('people-list'), more: $('people-more'),
});
const profile = new Profile({
  dialog: $('profile'), form: $('profile-form'), title: $('profile-title'), text: $('profile-text'),
  input: $('profile-name'), cancel: $('profile-cancel'), save: $('profile-save'), hint: $('profile-hint'),
});
const transcript = new Transcript($('transcript'), $('message-template'), (act, nonce) => {
  if (act === 'retry') current.outbox.retry(nonce);
  if (act === 'discard') current.outbox.discard(nonce);
  if (act === 'more') scroller.look();
});
const pass = new Pass({ form: $('pass'), token: $('pass-token'), hint: $('pass-hint') }, connection);
const scroller = new Scroller($('scroller'), () => {
  if (scroller.nearTop) current?.loadOlder();
  if (scroller.atBottom) see();
  paintPill();
});
const composer = new Composer({ form: $('composer'), text: $('text'), counter: $('counter'), button: $('send') }, (text) => {
  scroller.toBottom(); // one wants to see what one says
  current.send(text);
});
const drawers = new Drawers($('room'), $('scrim'));
drawers.add('rooms', $('rooms'), $('open-rooms'), '(max-width: 760px)');
drawers.add('people', $('people'), $('open-people'), '(max-width: 1180px)');

// Rooms

function roomNamed(name) {
  if (rooms.has(name)) return rooms.get(name);
  const room = new Room(connection, name);
  rooms.set(name, room);
  room.addEventListener('publication', () => {
    room.trim(room === current && !scroller.atBottom);
    changed(room);
  });
  room.addEventListener('messages', () => changed(room));
  room.addEventListener('loading', () => changed(room));
  room.addEventListener('state', () => {
    if (room === current && room.isLive) people.soon();
    changed(room);
  });
  room.addEventListener('presence', () => { if (room === current) people.soon(); });
  return room;
}

function enter(name) {
  if (current?.name === name) return;
  if (current) current.draft = composer.draft;
  const dropped = roomList.add(name);
  if (dropped) forget(dropped);
  current = roomNamed(name);
  current.open();
  composer.draft = current.draft;
  people.follow(current);
  scroller.toBottom();
  paint();
  drawers.close();
  if (matchMedia('(pointer: fine)').matches) composer.focus(); // no keyboard popping up on a phone
}

function leave(name) {
  roomList.remove(name);
  forget(name);
  if (current?.name === name) location.hash = hashOf(roomList.names[0]);
  else paint();
}

function forget(name) {
  rooms.get(name)?.close();
  rooms.delete(name);
}

// What was seen

const onScreen = (room) => room === current && !document.hidden && scroller.atBottom;

function see() {
  if (!current || document.hidden || current.unread === 0) return;
  current.unread = 0;
  schedule();
}

function changed(room) {
  if (onScreen(room)) room.unread = 0;
  paintTitle(); // not left to the next frame: a hidden tab has none
  schedule();
}

// The screen

// One painting a frame, however many messages came in it.
function schedule() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    paint();
  });
}

function paint() {
  if (!current) return;
  const label = roomLabel(current.name);
  $('room-name').textContent = label;
  $('scroller').setAttribute('aria-label', `Messages in ${label}`);
  // Old messages that come in by scrolling are not news to be read out.
  $('scroller').setAttribute('aria-busy', String(current.loading || current.loadingOlder));
  scroller.keeping(() => {
    paintTop();
    transcript.show([...current.timeline.messages(), ...current.outbox.entries().map(withAuthor)]);
  });
  paintNotice();
  paintPill();
  paintTitle();
  roomList.show(current.name, (name) => rooms.get(name)?.unread ?? 0);
  // A tall screen shows more than one page: go on until it is full.
  if (scroller.nearTop) current.loadOlder();
}

// What is typed here has no author yet; the server will say who it was.
function withAuthor(entry) {
  entry.author ??= { id: connection.id, name: profile.name };
  entry.own = true;
  return entry;
}

function paintTop() {
  const complete = current.loaded && !current.hasOlder;
  const empty = complete && current.timeline.size === 0 && current.outbox.entries().length === 0;
  // Only what is on its way is promised.
  $('loading').hidden = complete || current.state === 'refused' || connection.state === 'stopped';
  $('opening').hidden = !complete || connection.needsToken;
  $('opening').classList.toggle('empty', empty);
  const room = `#${roomLabel(current.name)}`;
  if (!current.keepsHistory) {
    $('opening-title').textContent = room;
    $('opening-text').textContent = 'What was said here before you came is not shown to you.';
  } else {
    $('opening-title').textContent = empty ? 'It is quiet in here' : `This is where ${room} began`;
    $('opening-text').textContent = empty
      ? `Nobody has said anything in ${room} yet. Somebody has to be first.`
      : 'There is nothing before this.';
  }
  pass.show();
}

function paintNotice() {
  const notice = noticeOf();
  $('notice').hidden = !notice;
  if (notice) $('notice-text').textContent = notice.text;
  $('notice-action').hidden = !notice?.action;
  $('notice-action').textContent = notice?.action ?? '';
  const [enabled, hint] = writing();
  composer.setEnabled(enabled, hint);
  const words = { idle: 'Offline', connecting: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…', stopped: 'Disconnected' };
  $('link-state').textContent = connection.needsToken ? 'Waiting for a token' : words[connection.state];
  $('link-state').dataset.state = connection.state;
}

function writing() {
  if (connection.needsToken) return [false, 'A token is needed to write here'];
  if (current.state === 'refused') return [false, 'You cannot write here'];
  return [true, `Message #${roomLabel(current.name)}`];
}

function noticeOf() {
  if (connection.needsToken) return undefined; // the form for it says all
  if (connection.state === 'stopped') return { text: `Disconnected: ${connection.reason}.`, action: 'Reconnect' };
  if (current.state === 'refused') return { text: `This room is closed to you: ${current.reason}.`, action: 'Try again' };
  if (connection.state === 'reconnecting') return { text: 'Reconnecting… What you write now is sent when the connection is back.' };
  return undefined;
}

function paintPill() {
  const unread = current?.unread ?? 0;
  $('pill').hidden = scroller.atBottom || (unread === 0 && !scroller.farFromBottom);
  $('pill-text').textContent = unread === 0 ? 'Latest messages' : `${unread} new message${unread === 1 ? '' : 's'}`;
}

function paintTitle() {
  if (!current) return;
  let unread = 0;
  for (const room of rooms.values()) unread += room.unread;
  document.title = `${unread > 0 ? `(${unread > 99 ? '99+' : unread}) ` : ''}${roomLabel(current.name)} · Hubbub`;
  $('menu-dot').hidden = unread === current.unread; // something in a room that is not on the screen
}

function paintMe() {
  $('me-name').textContent = profile.name;
  paintAvatar($('me-avatar'), { id: connection.id, name: profile.name || '?' });
}

// Beginnings

connection.addEventListener('state', () => {
  paintMe(); // its colour is the connection's
  schedule();
});
window.addEventListener('hashchange', () => enter(roomOfHash(location.hash)));
document.addEventListener('visibilitychange', () => { if (current && onScreen(current)) see(); });
$('pill').addEventListener('click', () => scroller.toBottom());
$('skip').addEventListener('click', () => composer.focus());
$('close-people').addEventListener('click', () => drawers.close());
$('me').addEventListener('click', () => profile.ask((name) => {
  connection.rename(name);
  paintMe();
}));
$('notice-action').addEventListener('click', () => {
  if (connection.state === 'stopped') connection.connect(profile.name);
  else current.rejoin();
});
$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = roomName($('join-name').value);
  $('join-hint').textContent = name ? '' : 'That name will not do: try letters and digits.';
  if (!name) return;
  $('join-name').value = '';
  location.hash = hashOf(name);
  drawers.close(); // also when it was the room on the screen
});

function begin() {
  paintMe();
  connection.connect(profile.name);
  roomList.names.forEach(roomNamed);
  enter(roomOfHash(location.hash));
}

paintMe();
if (profile.name) begin();
else profile.ask(begin);
