// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package ui

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chromium is a headless browser with one tab, spoken to over a pipe with the
// DevTools protocol: JSON with a NUL after each message.
type chromium struct {
	t       *testing.T
	to      *os.File
	answers *bufio.Reader
	last    int
	session string
}

// newChromium starts a browser that reaches this machine only.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v; Debian's package chromium has it", err)
	}
	fromUs, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, toUs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "portico-ui-") //nolint:usetesting // Children of the browser write to it until they are gone.
	if err != nil {
		t.Fatal(err)
	}
	// Not bound to the test's context: the browser ends in an orderly way.
	c := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	c.ExtraFiles = []*os.File{fromUs, toUs} // 3 and 4
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	fromUs.Close()
	toUs.Close()
	b := &chromium{t: t, to: toBrowser, answers: bufio.NewReader(fromBrowser)}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		toBrowser.Close()
		fromBrowser.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("chromium: %v", err)
		}
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // There may be no child left.
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil || time.Now().After(end) {
				return
			}
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	return b
}

// call sends a command and decodes its answer; events are left out.
func (b *chromium) call(method string, parameters any, answer any) {
	b.t.Helper()
	b.last++
	if parameters == nil {
		parameters = map[string]any{}
	}
	message := map[string]any{"id": b.last, "method": method, "params": parameters}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		text, err := b.answers.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var got struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &got); err != nil {
			b.t.Fatal(err)
		}
		if got.ID != b.last {
			continue
		}
		if got.Error != nil {
			b.t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if answer != nil {
			if err := json.Unmarshal(got.Result, answer); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// value evaluates an expression, as a person at the console of the browser would.
func value[T any](b *chromium, expression string) T {
	b.t.Helper()
	var got struct {
		Result           struct{ Value T }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Exception.Description)
	}
	return got.Result.Value
}

// until waits for an expression to be true of the page.
func (b *chromium) until(expression string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if value[bool](b, "document.readyState == 'complete' && !!("+expression+")") {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s is not so of\n%s", expression, value[string](b, "document.body.innerText"))
		}
	}
}

// open goes to an address and waits until its heading is there.
func (b *chromium) open(url, heading string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until(fmt.Sprintf("document.querySelector('h1')?.innerText == %q", heading))
}

// press presses a key.
func (b *chromium) press(key string) {
	b.t.Helper()
	event := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13}[key]}
	if key == "Enter" {
		event["text"] = "\r"
	}
	b.call("Input.dispatchKeyEvent", event, nil)
	event["type"] = "keyUp"
	delete(event, "text")
	b.call("Input.dispatchKeyEvent", event, nil)
}

// node is a part of the page as a screen reader has it.
type node struct {
	Ignored bool
	Role    struct{ Value any }
	Name    struct{ Value any }
}

func (n node) role() string { return fmt.Sprint(n.Role.Value) }

func (n node) name() string {
	if n.Name.Value == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(n.Name.Value))
}

func (b *chromium) heard() []node {
	b.t.Helper()
	var tree struct{ Nodes []node }
	b.call("Accessibility.getFullAXTree", nil, &tree)
	return tree.Nodes
}
