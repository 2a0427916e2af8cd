// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/rest"
)

const hostNamespace = "team-a"

// tree is an object as JSON, so that fields which our types do not know are
// kept, as a newer API server would.
type tree = map[string]any

// fakeHost is as much of a host API server as Storage relies on: revisions,
// preconditions, finalizers, graceful deletion, subresources that take only
// their part of an object, list, watch with history and bookmarks. It speaks
// JSON.
type fakeHost struct {
	t      *testing.T
	server *httptest.Server

	mu        sync.Mutex
	rv        uint64
	uids      int
	compacted uint64
	objects   map[string]tree // by resource/name
	history   []change
	watchers  map[*watcher]bool
	calls     []call
	down      bool
	dropAll   bool // every watch, as soon as it is open
	late      bool // watches get no events
	trying    bool // changes are not kept
	untold    []change
	// answer, when set, may answer a request in the place of the host.
	answer func(c call) *metav1.Status
	// before runs ahead of each request that changes something, unlocked.
	before func(c call)
	// forget takes fields out of objects that are created or patched, as a host
	// does that does not know them.
	forget func(obj tree)
	// warn is a warning in every answer.
	warn string
}

type call struct {
	verb, resource, name, subresource string
	body                              []byte
	dryRun                            bool
}

func (c call) String() string {
	s := c.verb + " " + c.resource
	if c.name != "" {
		s += "/" + c.name
	}
	if c.subresource != "" {
		s += "/" + c.subresource
	}
	if c.dryRun {
		s += " (dry run)"
	}
	return s
}

type change struct {
	rv       uint64
	resource string
	kind     string
	old, new tree
}

type watcher struct {
	resource string
	selector labels.Selector
	events   chan []byte
	closed   chan struct{}
}

func newFakeHost(t *testing.T) *fakeHost {
	t.Helper()
	h := &fakeHost{t: t, rv: 1000, compacted: 1, objects: map[string]tree{}, watchers: map[*watcher]bool{}}
	h.server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() {
		h.dropWatches()
		h.server.CloseClientConnections()
		h.server.Close()
	})
	return h
}

func (h *fakeHost) config() *rest.Config {
	return &rest.Config{Host: h.server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

// setDown makes the host unreachable, or reachable again.
func (h *fakeHost) setDown(down bool) {
	h.mu.Lock()
	h.down = down
	h.mu.Unlock()
	if down {
		h.dropWatches()
	}
}

// dropWatches ends every watch without a word.
func (h *fakeHost) dropWatches() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		close(w.closed)
		delete(h.watchers, w)
	}
}

// compact forgets the history.
func (h *fakeHost) compact() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rv++
	h.compacted = h.rv
}

// writes returns the calls so far that change something, and forgets all.
func (h *fakeHost) writes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, c := range h.calls {
		if c.verb != "GET" && c.verb != "LIST" && c.verb != "WATCH" {
			out = append(out, c.String())
		}
	}
	h.calls = nil
	return out
}

// reads counts the GETs so far.
func (h *fakeHost) reads() int { return h.count("GET") }

// count counts the calls of one verb so far.
func (h *fakeHost) count(verb string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.calls {
		if c.verb == verb {
			n++
		}
	}
	return n
}

// get returns a copy of a host object, or nil.
func (h *fakeHost) get(resource, name string) tree {
	h.mu.Lock()
	defer h.mu.Unlock()
	return clone(h.objects[resource+"/"+name])
}

// edit changes a host object behind the door's back.
func (h *fakeHost) edit(resource, name string, f func(tree)) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.objects[resource+"/"+name]
	if !ok {
		h.t.Fatalf("host has no %s/%s", resource, name)
	}
	obj := clone(old)
	f(obj)
	h.commit(resource, old, obj)
}

// put adds an object behind the door's back.
func (h *fakeHost) put(resource string, obj any) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.insert(resource, toTree(h.t, obj))
}

// remove deletes an object behind the door's back, at once.
func (h *fakeHost) remove(resource, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.objects[resource+"/"+name]; ok {
		h.drop(resource, old)
	}
}

// bookmark sends every watch the present revision, moved on by others.
func (h *fakeHost) bookmark() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rv++
	for w := range h.watchers {
		w.send("BOOKMARK", tree{"apiVersion": versionOf(w.resource), "kind": kindOf(w.resource), "metadata": tree{"resourceVersion": rvString(h.rv)}})
	}
	return h.rv
}

func kindOf(resource string) string {
	return map[string]string{
		"pods": "Pod", "services": "Service", "persistentvolumeclaims": "PersistentVolumeClaim", "resourceclaims": "ResourceClaim",
		"nodes": "Node",
	}[resource]
}

func versionOf(resource string) string {
	if resource == "resourceclaims" {
		return "resource.k8s.io/v1"
	}
	return "v1"
}

func shapeOf(resource string) any {
	return map[string]any{
		"pods": corev1.Pod{}, "services": corev1.Service{}, "persistentvolumeclaims": corev1.PersistentVolumeClaim{},
		"resourceclaims": resourcev1.ResourceClaim{},
	}[resource]
}

func rvString(rv uint64) string { return strconv.FormatUint(rv, 10) }

func toTree(t *testing.T, obj any) tree {
	t.Helper()
	raw, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var out tree
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func clone(t tree) tree {
	if t == nil {
		return nil
	}
	raw, _ := json.Marshal(t)
	var out tree
	_ = json.Unmarshal(raw, &out)
	return out
}

func md(t tree) tree {
	m, _ := t["metadata"].(tree)
	if m == nil {
		m = tree{}
		t["metadata"] = m
	}
	return m
}

func finalizers(t tree) []any { f, _ := md(t)["finalizers"].([]any); return f }

func str(v any) string { s, _ := v.(string); return s }

// insert, commit and drop are the only ways an object changes. REQUIRES: mu.
func (h *fakeHost) insert(resource string, obj tree) {
	h.rv++
	h.uids++
	m := md(obj)
	m["uid"] = fmt.Sprintf("host-uid-%d", h.uids)
	m["resourceVersion"] = rvString(h.rv)
	m["creationTimestamp"] = "2026-01-01T00:00:00Z"
	m["namespace"] = hostNamespace
	obj["apiVersion"], obj["kind"] = versionOf(resource), kindOf(resource)
	h.objects[resource+"/"+str(m["name"])] = obj
	h.publish(change{h.rv, resource, "ADDED", nil, obj})
}

func (h *fakeHost) commit(resource string, old, obj tree) {
	h.rv++
	md(obj)["resourceVersion"] = rvString(h.rv)
	h.objects[resource+"/"+str(md(obj)["name"])] = obj
	h.publish(change{h.rv, resource, "MODIFIED", old, obj})
}

// drop removes an object and returns it with the revision of its deletion.
func (h *fakeHost) drop(resource string, old tree) tree {
	h.rv++
	last := clone(old)
	md(last)["resourceVersion"] = rvString(h.rv)
	delete(h.objects, resource+"/"+str(md(old)["name"]))
	h.publish(change{h.rv, resource, "DELETED", old, last})
	return last
}

func (h *fakeHost) publish(c change) {
	if h.trying {
		return
	}
	h.history = append(h.history, c)
	if h.late {
		h.untold = append(h.untold, c)
		return
	}
	for w := range h.watchers {
		w.offer(c)
	}
}

// setLate holds back the events of watches from now on, until it is switched
// off.
func (h *fakeHost) setLate(late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = late
	for _, c := range h.untold {
		for w := range h.watchers {
			w.offer(c)
		}
	}
	h.untold = nil
}

func selected(s labels.Selector, t tree) bool {
	if t == nil {
		return false
	}
	set := labels.Set{}
	if m, ok := md(t)["labels"].(tree); ok {
		for k, v := range m {
			set[k] = str(v)
		}
	}
	return s.Matches(set)
}

func (w *watcher) offer(c change) {
	if c.resource != w.resource {
		return
	}
	was, is := selected(w.selector, c.old), selected(w.selector, c.new) && c.kind != "DELETED"
	switch {
	case is && was:
		w.send("MODIFIED", c.new)
	case is:
		w.send("ADDED", c.new)
	case was:
		last := clone(c.old)
		md(last)["resourceVersion"] = rvString(c.rv)
		w.send("DELETED", last)
	}
}

func (w *watcher) send(kind string, obj tree) {
	raw, _ := json.Marshal(tree{"type": kind, "object": obj})
	select {
	case w.events <- raw:
	case <-w.closed:
	}
}

// serve handles one request.
func (h *fakeHost) serve(rw http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	h.mu.Lock()
	down := h.down
	h.mu.Unlock()
	if down {
		if c, _, err := http.NewResponseController(rw).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	_, path, namespaced := strings.Cut(req.URL.Path, "/namespaces/"+hostNamespace+"/")
	if !namespaced {
		path = strings.TrimPrefix(req.URL.Path, "/api/v1/")
	}
	parts := strings.Split(path, "/")
	c := call{verb: req.Method, resource: parts[0], body: body}
	if len(parts) > 1 {
		c.name = parts[1]
	}
	if len(parts) > 2 {
		c.subresource = parts[2]
	}
	c.dryRun = slices.Contains(req.URL.Query()["dryRun"], metav1.DryRunAll)
	if c.verb == "DELETE" {
		var o metav1.DeleteOptions
		_ = json.Unmarshal(body, &o)
		c.dryRun = slices.Contains(o.DryRun, metav1.DryRunAll)
	}
	if c.verb == "GET" && c.name == "" {
		c.verb = "LIST"
		if req.URL.Query().Get("watch") == "true" || req.URL.Query().Get("watch") == "1" {
			c.verb = "WATCH"
		}
	}
	h.mu.Lock()
	h.calls = append(h.calls, c)
	answer, before := h.answer, h.before
	if h.warn != "" {
		rw.Header().Set("Warning", fmt.Sprintf("299 - %q", h.warn))
	}
	h.mu.Unlock()
	if answer != nil {
		if st := answer(c); st != nil {
			reply(rw, int(st.Code), toTree(h.t, st))
			return
		}
	}
	if before != nil && c.verb != "GET" && c.verb != "LIST" && c.verb != "WATCH" {
		before(c)
	}
	if c.verb == "WATCH" {
		h.watch(rw, req, c)
		return
	}
	code, out := h.handle(c, req)
	reply(rw, code, out)
}

func reply(rw http.ResponseWriter, code int, body tree) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(body)
}

func refuse(code int, reason metav1.StatusReason, resource, name, message string) (int, tree) {
	return code, tree{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": string(reason),
		"message": message, "details": tree{"name": name, "kind": resource}}
}

func (h *fakeHost) handle(c call, req *http.Request) (int, tree) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !c.dryRun {
		return h.execute(c, req)
	}
	rv, objects := h.rv, maps.Clone(h.objects)
	h.trying = true
	code, out := h.execute(c, req)
	h.trying, h.rv, h.objects = false, rv, objects
	// As upstream: a change that was not made has no revision of its own.
	if was, ok := objects[c.resource+"/"+c.name]; ok && code < 300 {
		out = clone(out)
		md(out)["resourceVersion"] = md(was)["resourceVersion"]
	} else if code < 300 {
		delete(md(out), "resourceVersion")
	}
	return code, out
}

// execute is handle with its effects. REQUIRES: mu.
func (h *fakeHost) execute(c call, req *http.Request) (int, tree) {
	old, exists := h.objects[c.resource+"/"+c.name]
	switch {
	case c.verb == "LIST":
		return h.list(c, req)
	case c.verb == "POST" && c.name == "":
		return h.create(c)
	case !exists:
		return refuse(404, metav1.StatusReasonNotFound, c.resource, c.name, fmt.Sprintf("%s %q not found", c.resource, c.name))
	case c.verb == "GET":
		return 200, old
	case c.verb == "PATCH":
		return h.patch(c, old, types.PatchType(req.Header.Get("Content-Type")))
	case c.verb == "DELETE":
		return h.delete(c, old)
	case c.verb == "POST" && c.subresource == "binding":
		var b corev1.Binding
		_ = json.Unmarshal(c.body, &b)
		obj := clone(old)
		obj["spec"].(tree)["nodeName"] = b.Target.Name
		h.commit(c.resource, old, obj)
		return 201, tree{"apiVersion": "v1", "kind": "Status", "status": "Success"}
	}
	return refuse(405, metav1.StatusReasonMethodNotAllowed, c.resource, c.name, "not supported by the fake host")
}

func (h *fakeHost) list(c call, req *http.Request) (int, tree) {
	selector, _ := labels.Parse(req.URL.Query().Get("labelSelector"))
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(h.objects)) {
		if obj := h.objects[key]; strings.HasPrefix(key, c.resource+"/") && selected(selector, obj) {
			items = append(items, obj)
		}
	}
	return 200, tree{"apiVersion": versionOf(c.resource), "kind": kindOf(c.resource) + "List", "metadata": tree{"resourceVersion": rvString(h.rv)}, "items": items}
}

func (h *fakeHost) create(c call) (int, tree) {
	var obj tree
	_ = json.Unmarshal(c.body, &obj)
	name := str(md(obj)["name"])
	if _, ok := h.objects[c.resource+"/"+name]; ok {
		return refuse(409, metav1.StatusReasonAlreadyExists, c.resource, name, fmt.Sprintf("%s %q already exists", c.resource, name))
	}
	if h.forget != nil {
		h.forget(obj)
	}
	if c.resource == "services" {
		spec := obj["spec"].(tree)
		if str(spec["clusterIP"]) == "" {
			spec["clusterIP"] = "10.96.7.7"
		}
	}
	h.insert(c.resource, obj)
	return 201, obj
}

func conflict(c call, why string) (int, tree) {
	return refuse(409, metav1.StatusReasonConflict, c.resource, c.name,
		fmt.Sprintf("Operation cannot be fulfilled on %s %q: %s", c.resource, c.name, why))
}

func (h *fakeHost) patch(c call, old tree, format types.PatchType) (int, tree) {
	var p tree
	_ = json.Unmarshal(c.body, &p)
	pm := md(p)
	if rv := str(pm["resourceVersion"]); rv != "" && rv != str(md(old)["resourceVersion"]) {
		return conflict(c, "the object has been modified; please apply your changes to the latest version and try again")
	}
	if uid := str(pm["uid"]); uid != "" && uid != str(md(old)["uid"]) {
		return conflict(c, "Precondition failed: UID in precondition")
	}
	delete(pm, "resourceVersion")
	delete(pm, "uid")
	original, _ := json.Marshal(old)
	body, _ := json.Marshal(p)
	var patched []byte
	var err error
	if format == types.StrategicMergePatchType {
		patched, err = strategicpatch.StrategicMergePatch(original, body, shapeOf(c.resource))
	} else {
		patched, err = mergePatch(original, body)
	}
	if err != nil {
		return refuse(400, metav1.StatusReasonBadRequest, c.resource, c.name, err.Error())
	}
	var obj tree
	_ = json.Unmarshal(patched, &obj)
	obj = partOf(c.subresource, clone(old), obj)
	if h.forget != nil {
		h.forget(obj)
	}
	if same, _ := json.Marshal(obj); string(same) == string(mustJSON(old)) {
		return 200, old
	}
	m := md(obj)
	grace, _ := m["deletionGracePeriodSeconds"].(float64)
	if m["deletionTimestamp"] != nil && grace == 0 && len(finalizers(obj)) == 0 {
		// As upstream: the reply is the object of the request, and does not
		// have the revision of the deletion.
		h.drop(c.resource, old)
		return 200, obj
	}
	h.commit(c.resource, old, obj)
	return 200, obj
}

func mustJSON(v any) []byte { raw, _ := json.Marshal(v); return raw }

// mergePatch applies a JSON merge patch by asking for the patch that makes it.
func mergePatch(original, body []byte) ([]byte, error) {
	var o, p any
	if err := json.Unmarshal(original, &o); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	out := merge(o, p)
	_, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, mustJSON(out), original)
	return mustJSON(out), err
}

func merge(o, p any) any {
	pm, ok := p.(tree)
	if !ok {
		return p
	}
	om, ok := o.(tree)
	if !ok {
		om = tree{}
	}
	out := maps.Clone(om)
	for k, v := range pm {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = merge(out[k], v)
	}
	return out
}

// partOf keeps those parts of a patched object that the subresource covers.
func partOf(subresource string, old, obj tree) tree {
	switch subresource {
	case "":
		obj["status"] = old["status"]
		if old["status"] == nil {
			delete(obj, "status")
		}
	case "status":
		obj["spec"] = old["spec"]
	case "ephemeralcontainers":
		old["spec"].(tree)["ephemeralContainers"] = obj["spec"].(tree)["ephemeralContainers"]
		return old
	case "resize":
		old["spec"].(tree)["containers"] = obj["spec"].(tree)["containers"]
		return old
	}
	return obj
}

func (h *fakeHost) delete(c call, old tree) (int, tree) {
	var o metav1.DeleteOptions
	_ = json.Unmarshal(c.body, &o)
	if p := o.Preconditions; p != nil {
		if p.UID != nil && string(*p.UID) != str(md(old)["uid"]) || p.ResourceVersion != nil && *p.ResourceVersion != str(md(old)["resourceVersion"]) {
			return conflict(c, "Precondition failed")
		}
	}
	grace := int64(0)
	if c.resource == "pods" && str(old["spec"].(tree)["nodeName"]) != "" {
		grace = 30
		if o.GracePeriodSeconds != nil {
			grace = *o.GracePeriodSeconds
		}
	}
	if grace == 0 && len(finalizers(old)) == 0 {
		return 200, h.drop(c.resource, old)
	}
	obj := clone(old)
	m := md(obj)
	if m["deletionTimestamp"] == nil {
		m["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	m["deletionGracePeriodSeconds"] = float64(grace)
	h.commit(c.resource, old, obj)
	return 200, obj
}

// watch streams changes until the client or the test ends it.
func (h *fakeHost) watch(rw http.ResponseWriter, req *http.Request, c call) {
	selector, _ := labels.Parse(req.URL.Query().Get("labelSelector"))
	from, _ := strconv.ParseUint(req.URL.Query().Get("resourceVersion"), 10, 64)
	w := &watcher{resource: c.resource, selector: selector, events: make(chan []byte, 10000), closed: make(chan struct{})}
	rw.Header().Set("Content-Type", "application/json")
	h.mu.Lock()
	if h.dropAll {
		close(w.closed)
	} else if from < h.compacted {
		_, st := refuse(410, metav1.StatusReasonExpired, c.resource, "", "too old resource version")
		w.send("ERROR", st)
		close(w.closed)
	} else {
		for _, ch := range h.history {
			if ch.rv > from {
				w.offer(ch)
			}
		}
		h.watchers[w] = true
	}
	h.mu.Unlock()
	rc := http.NewResponseController(rw)
	_ = rc.Flush()
	for {
		select {
		case ev := <-w.events:
			_, _ = rw.Write(append(ev, '\n'))
			_ = rc.Flush()
			continue
		default:
		}
		select {
		case ev := <-w.events:
			_, _ = rw.Write(append(ev, '\n'))
			_ = rc.Flush()
		case <-w.closed:
			return
		case <-req.Context().Done():
			h.mu.Lock()
			delete(h.watchers, w)
			h.mu.Unlock()
			return
		}
	}
}
