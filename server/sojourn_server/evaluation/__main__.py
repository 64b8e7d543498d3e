"""The process that `apart` starts: it reads a request, evaluates, and writes the answer."""

from sojourn_server.evaluation.apart import serve_one

if __name__ == "__main__":
    serve_one()
