// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package ui

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// faint lists the texts of a page whose contrast with what is behind them is
// less than WCAG 2.2 wants of texts of their size (1.4.3, level AA).
const faint = `(() => {
  const numbers = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = numbers(c).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (numbers(c)[3] !== 0) return c; } return 'rgb(255, 255, 255)'; };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
    if (!text || !e.checkVisibility()) continue;
    const a = light(getComputedStyle(e).color), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(text + ': ' + ratio.toFixed(2));
  }
  return found;
})()`

// shot takes a picture of the page. It is kept in the directory UI_SHOTS, if that
// is set.
func (b *chromium) shot(name string) {
	b.t.Helper()
	var got struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &got)
	content, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		b.t.Fatal(err)
	}
	// A page that is blank has one colour.
	colours := map[[4]uint32]bool{}
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			r, g, bl, a := picture.At(x, y).RGBA()
			colours[[4]uint32{r, g, bl, a}] = true
		}
	}
	if len(colours) < 16 {
		b.t.Errorf("the picture of %s has %d colours", name, len(colours))
	}
	if dir := os.Getenv("UI_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), content, 0o600); err != nil {
			b.t.Error(err)
		}
	}
}

// look sets the width of the window and the colours that the person prefers.
func (b *chromium) look(width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// address is that of a page below the place of a server.
func (s *Server) address(path string) string {
	return "http://" + s.listener.Addr().String() + s.guard.place + path
}

func TestBrowserShowsPagesToEyesAndEars(t *testing.T) {
	s, _ := serve(t, fleet())
	b := newChromium(t)
	b.open(s.Link(), "Virtual clusters") // The link leads on by itself.
	for name, path := range map[string]string{
		"fleet": "/", "running": "/clusters/portico-alpha/alpha", "broken": "/clusters/portico-beta/beta", "paused": "/clusters/portico-gamma/gamma",
		"fault": "/clusters/portico-gamma/other",
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			b.call("Page.navigate", map[string]any{"url": s.address(path)}, nil)
			b.until("document.querySelector('h1') && location.pathname.endsWith(" + fmt.Sprintf("%q", path) + ")")
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int{1280, 320} {
					b.look(width, scheme)
					if texts := value[[]string](&b, faint); len(texts) > 0 {
						t.Errorf("%s, texts without contrast: %q", scheme, texts)
					}
					if over := value[int](&b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
						t.Errorf("%d wide: the page is %d wider", width, over)
					}
					b.shot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
				}
			}
			spoken(t, b.heard())
		})
	}
}

// spoken checks the page as a screen reader has it.
func spoken(t *testing.T, nodes []node) {
	t.Helper()
	count := map[string]int{}
	for _, n := range nodes {
		if n.Ignored {
			continue
		}
		count[n.role()]++
		if slices.Contains([]string{"link", "button", "textbox", "heading", "region", "navigation"}, n.role()) && n.name() == "" {
			t.Errorf("a %s has no name", n.role())
		}
	}
	for role, want := range map[string]int{"main": 1, "navigation": 1, "banner": 1} {
		if count[role] != want {
			t.Errorf("%d of the role %s, want %d; there are %v", count[role], role, want, count)
		}
	}
}

// TestBrowserIsUsedByKeyboard deletes a cluster with nothing but keys.
func TestBrowserIsUsedByKeyboard(t *testing.T) {
	f := fleet()
	s, _ := serve(t, f)
	b := newChromium(t)
	b.open(s.Link(), "Virtual clusters")
	// tab goes on to an element with a text or name, within as many keys as anybody
	// would press.
	tab := func(to string) {
		t.Helper()
		var passed []string
		for range 20 {
			b.press("Tab")
			at := value[string](b, "document.activeElement.innerText || document.activeElement.name || ''")
			if !value[bool](b, "getComputedStyle(document.activeElement).outlineStyle != 'none'") {
				t.Errorf("nobody sees that the focus is at %q", at)
			}
			passed = append(passed, at)
			if at == to {
				return
			}
		}
		t.Fatalf("%q is not reached: %q", to, passed)
	}
	tab("Skip to the content")
	tab("gamma")
	b.press("Enter")
	b.until("document.querySelector('h1')?.innerText == 'gamma'")
	tab("name")
	b.call("Input.insertText", map[string]any{"text": "gamma"}, nil)
	b.press("Enter")
	b.until("document.querySelector('h1')?.innerText == 'gamma is deleted'")
	if got := strings.Join(f.done(), ", "); got != "delete gamma" {
		t.Errorf("done: %s", got)
	}
}

// TestAttackBrowserVisitsAnotherPort: a page of another program of this machine,
// which is of the same site to a browser, reads nothing and presses no button.
func TestAttackBrowserVisitsAnotherPort(t *testing.T) {
	f := fleet()
	s, _ := serve(t, f)
	b := newChromium(t)
	b.open(s.Link(), "Virtual clusters")
	// It knows everything but the session.
	form := fmt.Sprintf(`<h1>evil</h1><form method="post" action="%s"><input name="form" value="%s"></form>`,
		s.address("/clusters/portico-alpha/alpha/pause"), s.guard.form)
	sent := make(chan string, 10)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Cookie") + r.Header.Get("Referer")
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(form))
	}))
	t.Cleanup(evil.Close)
	b.open(evil.URL, "evil")
	if got := <-sent; got != "" {
		t.Errorf("another program was sent %q", got)
	}
	b.call("Runtime.evaluate", map[string]any{"expression": "document.forms[0].submit()"}, nil)
	b.until("document.body.innerText.includes('the request comes from another site')")
	if did := f.done(); len(did) > 0 {
		t.Errorf("done: %v", did)
	}
}
