// Node ends a request with a body by a write of no bytes. On a unix socket whose other side has answered and closed by
// then, the kernel refuses that write with EPIPE, node throws the answer away, and the proxy shows "503" for a request
// that was done. Nothing is lost by leaving such a write out. Source: https://github.com/nodejs/node/issues/41062,
// https://github.com/chimurai/http-proxy-middleware/issues/675.
"use strict";

const { Socket } = require("node:net");

const write = Socket.prototype._write;
Socket.prototype._write = function (data, encoding, done) {
  if (data.length === 0 && !this.connecting) process.nextTick(done);
  else write.call(this, data, encoding, done);
};
