// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

// translate returns the virtual Event for a host Event about object. message
// replaces the host Event's own.
func (c *Controller) translate(host *corev1.Event, message string, object target) *corev1.Event {
	virtual := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: object.Namespace, Name: eventName(object.Name, host.UID)},
		InvolvedObject:      reference(host.InvolvedObject, object),
		Reason:              host.Reason,
		Message:             c.text(message, host.InvolvedObject.FieldPath, object),
		Source:              host.Source,
		FirstTimestamp:      host.FirstTimestamp,
		LastTimestamp:       host.LastTimestamp,
		Count:               host.Count,
		Type:                host.Type,
		EventTime:           host.EventTime,
		Series:              host.Series.DeepCopy(),
		Action:              host.Action,
		ReportingController: host.ReportingController,
		ReportingInstance:   host.ReportingInstance,
	}
	if host.Related != nil {
		if related, ok := c.targets.find(*host.Related); ok {
			ref := reference(*host.Related, related)
			virtual.Related = &ref
		}
	}
	if hidden(host) {
		virtual.InvolvedObject.FieldPath = ""
		virtual.Message = hiddenTrouble
	}
	// The node of a pod is known to the tenant. Where else the host runs its
	// components is not.
	node := ""
	if object.pod != nil {
		node = object.pod.Spec.NodeName
	}
	if host.Source.Host != node {
		virtual.Source.Host = ""
	}
	if host.ReportingInstance != node && host.ReportingInstance != "" {
		virtual.ReportingInstance = host.ReportingController // it must not be empty next to an eventTime
	}
	return virtual
}

// text is a message about an object, or the part of it that a field path names,
// in virtual names.
func (c *Controller) text(message, fieldPath string, object target) string {
	known := c.known(message, object)
	if object.pod == nil {
		return c.cfg.Translator.TextToVirtual(message, known)
	}
	_, container, _ := strings.Cut(strings.TrimSuffix(fieldPath, "}"), "{")
	return c.cfg.Translator.PodTextToVirtual(message, object.pod, container, known)
}

// hiddenTrouble takes the place of a warning about a container that the tenant
// does not see, with its name and its image. The tenant has to know that the
// pod waits, and where to ask.
const hiddenTrouble = "/etc/hosts of the pod is not written yet; the events on the host say why"

// reference is a host reference to an object, as the tenant knows the object.
func reference(host corev1.ObjectReference, object target) corev1.ObjectReference {
	version := corev1.SchemeGroupVersion
	if object.Kind == "ResourceClaim" {
		version = resourcev1.SchemeGroupVersion
	}
	return corev1.ObjectReference{
		Kind: object.Kind, APIVersion: version.String(), Namespace: object.Namespace, Name: object.Name,
		UID: host.UID, ResourceVersion: host.ResourceVersion, FieldPath: host.FieldPath,
	}
}

// hostNames matches everything in a text that could be the name of a host object.
var hostNames = regexp.MustCompile(`[a-z0-9][-.a-z0-9]*[a-z0-9]`)

// known collects the host names that a text about an object may mention: the
// object's own, those that a pod refers to, and every other name in the text
// that a translated object of this cluster has.
func (c *Controller) known(text string, object target) map[string]rewrite.VirtualRef {
	t := c.cfg.Translator
	known := map[string]rewrite.VirtualRef{}
	for _, candidate := range hostNames.FindAllString(text, -1) {
		if found, ok := c.targets.named(candidate); ok {
			known[candidate] = rewrite.VirtualRef{Namespace: found.Namespace, Name: found.Name}
		} else if name, ok := t.PlainClusterName(candidate); ok {
			known[candidate] = rewrite.VirtualRef{Name: name} // the copy of a class
		}
	}
	know := func(kind, name string) {
		for _, hostName := range t.HostNames(kind, object.Namespace, name) {
			known[hostName] = rewrite.VirtualRef{Namespace: object.Namespace, Name: name}
		}
	}
	if object.pod != nil {
		for _, ref := range t.PodReferences(object.pod) {
			know(ref.Kind, ref.Name)
		}
	}
	if object.Kind == "Pod" {
		maps.Copy(known, t.ComposedNames(object.Namespace, object.Name, object.pod))
	}
	know(object.Kind, object.Name)
	return known
}

// eventName looks like the name that a component gives to an Event, with a
// digest of the host Event's uid in the place of the time.
func eventName(object string, uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	suffix := "." + hex.EncodeToString(sum[:8])
	return object[:min(len(object), 253-len(suffix))] + suffix
}
