// Go's net/http client on one processor. The command line and the line it prints are those of the
// other clients (../shared).
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What every answer has to have.
const bodyBytes = 13

// Requests between two looks at the clock.
const clockEvery = 16

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) < 2 {
		fail("URL [OPTIONS]")
	}
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	seconds := flags.Float64("seconds", 2, "how long is measured")
	warmUp := flags.Float64("warm-up", 0.3, "seconds before that")
	requests := flags.Int("requests", 0, "how many are measured, instead of how long")
	inFlight := flags.Int("in-flight", 1, "requests at the same time")
	mode := flags.String("mode", "reuse", "reuse, new, close")
	_ = flags.Parse(os.Args[2:])

	target, err := url.Parse(strings.TrimRight(os.Args[1], "/") + "/")
	if err != nil {
		fail(err.Error())
	}
	if *mode == "close" {
		target.Path = "/close"
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	// The default is 2: of 64 requests side by side most would dial.
	transport.MaxIdleConnsPerHost = *inFlight
	transport.DisableKeepAlives = *mode == "new"
	client := &http.Client{Transport: transport}

	duration := func(seconds float64) time.Duration {
		return time.Duration(seconds * float64(time.Second))
	}
	each := 0
	if *requests > 0 {
		each = (*requests + *inFlight - 1) / *inFlight
	}
	warmUpRequests := run(client, target, *inFlight, duration(*warmUp), (each+9)/10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	user, system := usage()
	start := time.Now()
	measured := run(client, target, *inFlight, duration(*seconds), each)
	wall := time.Since(start).Seconds()
	userAfter, systemAfter := usage()
	runtime.ReadMemStats(&after)
	fmt.Printf("requests=%d warm_up_requests=%d wall_seconds=%.6f user_seconds=%.6f "+
		"system_seconds=%.6f allocations=%d allocated_bytes=%d\n",
		measured, warmUpRequests, wall, userAfter-user, systemAfter-system,
		after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc)
}

// Sends requests for a time or, if each is set, so many of each goroutine.
func run(client *http.Client, target *url.URL, inFlight int, length time.Duration, each int) int64 {
	until := time.Now().Add(length)
	var all atomic.Int64
	var group sync.WaitGroup
	for range inFlight {
		group.Add(1)
		go func() {
			defer group.Done()
			done := 0
			for goOn(done, each, until) {
				get(client, target)
				done++
			}
			all.Add(int64(done))
		}()
	}
	group.Wait()
	return all.Load()
}

func goOn(done, each int, until time.Time) bool {
	if each > 0 {
		return done < each
	}
	return done%clockEvery != 0 || time.Now().Before(until)
}

// The URL is parsed once, as for the other clients.
func get(client *http.Client, target *url.URL) {
	response, err := client.Do(&http.Request{
		Method: "GET", URL: target, Host: target.Host, Header: make(http.Header),
	})
	if err != nil {
		fail(err.Error())
	}
	length, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		fail(err.Error())
	}
	response.Body.Close()
	if response.StatusCode != 200 || length != bodyBytes {
		fail(fmt.Sprintf("status %d, %d bytes of body", response.StatusCode, length))
	}
}

// CPU time of all threads.
func usage() (user, system float64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	seconds := func(time syscall.Timeval) float64 {
		return float64(time.Sec) + float64(time.Usec)/1e6
	}
	return seconds(usage.Utime), seconds(usage.Stime)
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
