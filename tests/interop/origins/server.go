// Go's own server, with what our client is asked to understand. The standard library alone.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func numbers(length int) []byte {
	all := make([]byte, length)
	for index := range all {
		all[index] = byte(index % 251)
	}
	return all
}

// number is the last part of the path.
func number(r *http.Request) int {
	parts := strings.Split(r.URL.Path, "/")
	value, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil {
		panic(err)
	}
	return value
}

func framing(r *http.Request) string {
	if len(r.TransferEncoding) > 0 {
		return r.TransferEncoding[0]
	}
	return "length"
}

func main() {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Connection", r.RemoteAddr)
			handler(w, r)
		})
	}
	handle("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	handle("/bytes/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(number(r)))
		w.Write(numbers(number(r)))
	})
	handle("/chunked/", func(w http.ResponseWriter, r *http.Request) {
		all := numbers(number(r))
		for len(all) > 0 {
			piece := min(len(all), 7777)
			w.Write(all[:piece])
			w.(http.Flusher).Flush()
			all = all[piece:]
		}
	})
	handle("/close/", func(w http.ResponseWriter, r *http.Request) {
		connection, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer connection.Close()
		buffered.WriteString("HTTP/1.1 200 OK\r\nX-Connection: " + r.RemoteAddr + "\r\n\r\n")
		buffered.Write(numbers(number(r)))
		buffered.Flush()
	})
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Framing", framing(r))
		w.Write(body)
	}
	handle("/echo", echo)
	handle("/both", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
	})
	handle("/redirect/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/seen", number(r))
	})
	handle("/seen", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.Method, len(body))
	})
	handle("/cookie/set", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "flavour", Value: "oat", Path: "/cookie", HttpOnly: true})
		http.Redirect(w, r, "/cookie/show", 302)
	})
	handle("/cookie/show", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Cookie"))
	})
	handle("/auth", func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok || user != "me" || password != "se cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			http.Error(w, "no", 401)
			return
		}
		io.WriteString(w, "welcome")
	})
	handle("/gzip/", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			http.Error(w, "nobody asked for gzip", 406)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		coder := gzip.NewWriter(w)
		coder.Write(numbers(number(r)))
		coder.Close()
	})
	handle("/slow/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r)) * time.Millisecond)
		io.WriteString(w, "late")
	})
	handle("/drip/", func(w http.ResponseWriter, r *http.Request) {
		for range 5 {
			io.WriteString(w, "drip")
			w.(http.Flusher).Flush()
			time.Sleep(time.Duration(number(r)) * time.Millisecond)
		}
	})
	handle("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(103)
		io.WriteString(w, "hinted")
	})
	handle("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too much", 413)
	})
	handle("/expect-refuse", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") == "" {
			echo(w, r)
			return
		}
		http.Error(w, "not here", 417)
	})
	handle("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "with a sum")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "7")
	})
	handle("/status/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r)) })
	handle("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "file.bin", time.Unix(1_000_000_000, 0), bytes.NewReader(numbers(100_000)))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux, IdleTimeout: 2 * time.Second}
	panic(server.Serve(listener))
}

// flushing sends each piece at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(piece []byte) (int, error) {
	written, err := f.ResponseWriter.Write(piece)
	f.ResponseWriter.(http.Flusher).Flush()
	return written, err
}
