"""The small model behind OpenAI's API, as xllamacpp serves it: with a key, on a port that the kernel chose."""

import sys
import threading

import xllamacpp

if __name__ == "__main__":
    weights, key, port = sys.argv[1:]
    settings = xllamacpp.CommonParams()
    settings.model.path = weights
    settings.n_ctx = 2048
    settings.port = int(port)
    settings.api_keys = [key]
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}\n")
    threading.Event().wait()
