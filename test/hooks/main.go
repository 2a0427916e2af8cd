// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command hooks is an example of a hook (docs/configuration.md, Hooks): pods of a
// virtual cluster get their images from the operator's mirror, and are refused with
// an image that has the tag latest. hook.py next to it does the same.
//
//	hooks LISTEN CERT KEY
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const mirror = "mirror.example/"

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: hooks LISTEN CERT KEY")
	}
	server := &http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}

// serve answers one review.
func serve(w http.ResponseWriter, r *http.Request) {
	review := &admissionv1.AdmissionReview{}
	if err := json.NewDecoder(r.Body).Decode(review); err != nil || review.Request == nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(review.Request.Object.Raw, pod); err != nil {
		http.Error(w, "not a pod", http.StatusBadRequest)
		return
	}
	review.Response = answer(pod)
	review.Response.UID = review.Request.UID
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(review); err != nil {
		log.Print(err)
	}
}

// answer judges a pod of the host.
func answer(pod *corev1.Pod) *admissionv1.AdmissionResponse {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var patch []operation
	for i := range pod.Spec.Containers {
		image := pod.Spec.Containers[i].Image
		if strings.HasSuffix(image, ":latest") {
			return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusForbidden, Message: "image " + image + " has no version"}}
		}
		if !strings.HasPrefix(image, mirror) {
			patch = append(patch, operation{"replace", fmt.Sprintf("/spec/containers/%d/image", i), mirror + image})
		}
	}
	response := &admissionv1.AdmissionResponse{Allowed: true}
	if len(patch) > 0 {
		kind := admissionv1.PatchTypeJSONPatch
		response.PatchType = &kind
		response.Patch, _ = json.Marshal(patch) // strings always have a form in JSON
	}
	return response
}
