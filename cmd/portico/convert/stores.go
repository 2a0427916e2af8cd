// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "strings"

// dataSource takes the password out of a database's address: it has no place
// in values, which many people read.
func dataSource(c *conversion, r row, v any) error {
	scheme, rest, ok := strings.Cut(v.(string), "://")
	switch scheme {
	case "mysql", "postgres", "postgresql":
	default:
		ok = false
	}
	if !ok {
		c.missing(r.path, "The stores are SQLite, etcd, PostgreSQL (postgres://) and MySQL (mysql://).")
		return nil
	}
	user, password, address, ok := credentials(rest)
	if !ok {
		c.missing(r.path, "The end of the password in it is not certain: write store.endpoint without any password, and store.passwordFile.")
		return nil
	}
	if user != "" {
		address = user + "@" + address
	}
	if err := c.put(r, r.to, scheme+"://"+address); err != nil {
		return err
	}
	withoutTLS(c, r, externalDB, strings.Contains(address, "sslmode=verify-full") || strings.Contains(address, "tls=true"))
	if password {
		c.missing(r.path, "Its password is not taken over: put it into a Secret, name that in controlPlane.storeSecret, and its key in store.passwordFile, /etc/portico/store/KEY.")
	}
	return nil
}

// credentials takes USER:PASSWORD@ADDRESS apart. The password may contain
// anything; where its end is not certain, it is not ok to use any part.
func credentials(source string) (user string, password bool, address string, ok bool) {
	end := strings.LastIndexByte(source, '?')
	if end < 0 {
		end = len(source)
	}
	if query := source[end:]; strings.Contains(query, "@") || strings.Contains(strings.ToLower(query), "pass") {
		return "", false, "", false
	}
	at := strings.LastIndexByte(source[:end], '@')
	if at < 0 {
		return "", false, source, true
	}
	user, _, password = strings.Cut(source[:at], ":")
	return user, password, source[at+1:], true
}

// etcdEndpoint makes an endpoint of one address or several.
func etcdEndpoint(c *conversion, r row, v any) error {
	scheme := "etcd://"
	var members []string
	for member := range strings.SplitSeq(v.(string), ",") {
		member = strings.TrimSpace(member)
		if rest, ok := strings.CutPrefix(member, "https://"); ok {
			member, scheme = rest, "etcds://"
		}
		members = append(members, strings.TrimSuffix(strings.TrimPrefix(member, "http://"), "/"))
	}
	if err := c.put(r, r.to, scheme+strings.Join(members, ",")); err != nil {
		return err
	}
	withoutTLS(c, r, externalEtcd+".tls", scheme == "etcds://")
	return nil
}

// withoutTLS says of a store that is not spoken to with TLS that porticod
// refuses it. The files of TLS are keys below section.
func withoutTLS(c *conversion, r row, section string, tls bool) {
	for _, file := range []string{"caFile", "certFile", "keyFile"} {
		tls = tls || !asksNothing(c.at(section+"."+file))
	}
	if !tls {
		c.missing(r.path, noTLS)
	}
}

const noTLS = "A store without TLS is refused, because who listens has all Secrets of the cluster: set store.tls, or write store.insecure: true."
