// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	webhookerrors "k8s.io/apiserver/pkg/admission/plugin/webhook/errors"
	webhookrequest "k8s.io/apiserver/pkg/admission/plugin/webhook/request"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/utils/ptr"
)

// maxAnswer bounds the answer of a hook: an object, and a patch to it.
const maxAnswer = 8 << 20

// deniedError is the refusal of a hook.
type deniedError struct{ status *apierrors.StatusError }

func (e *deniedError) Error() string { return e.status.Error() }

// review posts a review of an object, and returns the object as the answer has
// it, which is a new one.
func (c *hook) review(ctx context.Context, o Object, obj runtime.Object) (runtime.Object, error) {
	content, err := asJSON(o, obj)
	if err != nil {
		return nil, err
	}
	patch, err := c.ask(ctx, o, obj, content)
	if err != nil {
		return nil, err
	}
	return patched(obj, content, patch)
}

// ask posts a review, and returns the patch of its answer; empty means that the
// object is taken as it is.
func (c *hook) ask(ctx context.Context, o Object, obj runtime.Object, content []byte) ([]byte, error) {
	review, err := o.review(obj, content)
	if err != nil {
		return nil, err
	}
	began := c.rests.clock.Now()
	answer, err := c.post(ctx, review)
	reviewSeconds.WithLabelValues(c.Name).Observe(c.rests.clock.Since(began).Seconds())
	if err != nil {
		return nil, err
	}
	// The hook may change an object, so its answer is verified as that of a
	// mutating webhook: the uid of the review, and a patch of a known type.
	verdict, err := webhookrequest.VerifyAdmissionResponse(review.Request.UID, true, answer)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	for _, text := range verdict.Warnings {
		warning.AddWarning(ctx, "", text)
	}
	if !verdict.Allowed {
		return nil, &deniedError{webhookerrors.ToStatusErr(c.Name, verdict.Result)}
	}
	if len(verdict.Patch) > 0 && verdict.PatchType != admissionv1.PatchTypeJSONPatch {
		return nil, fmt.Errorf("the type of the patch is %q, and not JSONPatch", verdict.PatchType)
	}
	return verdict.Patch, nil
}

// post sends a review, and reads the one that answers it.
func (c *hook) post(ctx context.Context, review *admissionv1.AdmissionReview) (*admissionv1.AdmissionReview, error) {
	body, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", runtime.ContentTypeJSON)
	req.Header.Set("Accept", runtime.ContentTypeJSON)
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has the code %d", resp.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(content) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	answer := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(content, answer); err != nil {
		return nil, fmt.Errorf("the answer is no review: %w", err)
	}
	if answer.Response == nil {
		return nil, fmt.Errorf("the answer has no response")
	}
	return answer, nil
}

// review is the question about an object.
func (o Object) review(obj runtime.Object, content []byte) (*admissionv1.AdmissionReview, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	kind := metav1.GroupVersionKind{Group: o.Kind.Group, Version: o.Kind.Version, Kind: o.Kind.Kind}
	resource := metav1.GroupVersionResource{Group: o.Resource.Group, Version: o.Resource.Version, Resource: o.Resource.Resource}
	r := &admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
		Name: m.GetName(), Namespace: m.GetNamespace(), Operation: o.Operation,
		UserInfo: authenticationv1.UserInfo{Username: o.User},
		Object:   runtime.RawExtension{Raw: content},
		DryRun:   ptr.To(o.DryRun),
	}
	if r.Operation == "" {
		r.Operation = admissionv1.Connect // nothing is written
	}
	if o.Old != nil {
		old, err := asJSON(o, o.Old)
		if err != nil {
			return nil, err
		}
		r.OldObject = runtime.RawExtension{Raw: old}
	}
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request:  r,
	}, nil
}

// asJSON is an object with its kind, as a hook gets it.
func asJSON(o Object, obj runtime.Object) ([]byte, error) {
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(o.Kind)
	return json.Marshal(obj)
}

// asSent is an object as a reader of its JSON has it.
func asSent(o Object, obj runtime.Object) (runtime.Object, error) {
	content, err := asJSON(o, obj)
	if err != nil {
		return nil, err
	}
	return decoded(obj, content)
}

// patched applies a patch to an object.
func patched(obj runtime.Object, content, patch []byte) (runtime.Object, error) {
	if len(patch) == 0 {
		return obj.DeepCopyObject(), nil
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("read the patch: %w", err)
	}
	if content, err = p.Apply(content); err != nil {
		return nil, fmt.Errorf("apply the patch: %w", err)
	}
	return decoded(obj, content)
}

// decoded is the object of the same type as obj that is in content. A field that
// our types do not have is an error, rather than lost.
func decoded(obj runtime.Object, content []byte) (runtime.Object, error) {
	out, ok := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object of the API", obj)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	out.GetObjectKind().SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	return out, nil
}
