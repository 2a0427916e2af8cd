// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Decided lists, by their Go type, the fields for which it is decided that a
// tenant's value reaches the host in every spec that has such a field, and in
// the tenant's own part of a status. A field of a spec that is not here and has
// no decision in Table.Reach makes a test fail: the host's components act on a
// new field, and its effect has not been considered yet.
//
// These decisions leave the host's own in place: its admission, its quota and
// its validation judge a spec, and SECURITY.md says what they have to refuse.
var Decided = map[string]string{
	"v1.AWSElasticBlockStoreVolumeSource": "volumeID fsType partition readOnly",
	"v1.Affinity":                         "nodeAffinity podAffinity podAntiAffinity",
	"v1.AppArmorProfile":                  "type localhostProfile",
	"v1.AzureDiskVolumeSource":            "diskName diskURI cachingMode fsType readOnly kind",
	"v1.AzureFileVolumeSource":            "secretName shareName readOnly",
	"v1.CELDeviceSelector":                "expression",
	"v1.CSIVolumeSource":                  "driver readOnly fsType volumeAttributes nodePublishSecretRef",
	"v1.Capabilities":                     "add drop",
	"v1.CapacityRequirements":             "requests",
	"v1.CephFSVolumeSource":               "monitors path user secretFile secretRef readOnly",
	"v1.CinderVolumeSource":               "volumeID fsType readOnly secretRef",
	"v1.ClientIPConfig":                   "timeoutSeconds",
	"v1.ClusterTrustBundleProjection":     "name signerName labelSelector optional path user",
	"v1.Condition":                        "type status observedGeneration lastTransitionTime reason message",
	"v1.ConfigMapEnvSource":               "name optional",
	"v1.ConfigMapKeySelector":             "name key optional",
	"v1.ConfigMapProjection":              "name items optional",
	"v1.ConfigMapVolumeSource":            "name items defaultMode optional defaultUser",
	"v1.Container": "name image command args workingDir ports envFrom env resources resizePolicy restartPolicy" +
		" restartPolicyRules volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle" +
		" terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty",
	"v1.ContainerPort":                   "name hostPort containerPort protocol hostIP",
	"v1.ContainerResizePolicy":           "resourceName restartPolicy",
	"v1.ContainerRestartRule":            "action exitCodes",
	"v1.ContainerRestartRuleOnExitCodes": "operator values",
	"v1.DeviceClaim":                     "requests constraints config",
	"v1.DeviceClaimConfiguration":        "requests opaque",
	"v1.DeviceConstraint":                "requests matchAttribute distinctAttribute",
	"v1.DeviceDerivedAttribute":          "name expression",
	"v1.DeviceRequest":                   "name exactly firstAvailable",
	"v1.DeviceSelector":                  "cel",
	"v1.DeviceSubRequest":                "name deviceClassName selectors allocationMode count tolerations capacity derivedAttributes",
	"v1.DeviceToleration":                "key operator value effect tolerationSeconds",
	"v1.DownwardAPIProjection":           "items",
	"v1.DownwardAPIVolumeFile":           "path fieldRef resourceFieldRef mode user",
	"v1.DownwardAPIVolumeSource":         "items defaultMode defaultUser",
	"v1.EmptyDirVolumeSource":            "medium sizeLimit mode",
	"v1.EnvFromSource":                   "prefix configMapRef secretRef",
	"v1.EnvVar":                          "name value valueFrom",
	"v1.EnvVarSource":                    "fieldRef resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef",
	"v1.EphemeralContainer": "name image command args workingDir ports envFrom env resources resizePolicy restartPolicy" +
		" restartPolicyRules volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle" +
		" terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty" +
		" targetContainerName",
	"v1.ExactDeviceRequest":            "deviceClassName selectors allocationMode count tolerations capacity derivedAttributes",
	"v1.ExecAction":                    "command",
	"v1.FCVolumeSource":                "targetWWNs lun fsType readOnly wwids",
	"v1.FileKeySelector":               "volumeName path key optional",
	"v1.FlexVolumeSource":              "driver fsType secretRef readOnly options",
	"v1.FlockerVolumeSource":           "datasetName datasetUUID",
	"v1.GCEPersistentDiskVolumeSource": "pdName fsType partition readOnly",
	"v1.GRPCAction":                    "port service mode",
	"v1.GitRepoVolumeSource":           "repository revision directory",
	"v1.GlusterfsVolumeSource":         "endpoints path readOnly",
	"v1.HTTPGetAction":                 "path port host scheme httpHeaders protocol",
	"v1.HTTPHeader":                    "name value",
	"v1.HostAlias":                     "ip hostnames",
	"v1.HostPathVolumeSource":          "path type",
	"v1.ISCSIVolumeSource": "targetPortal iqn lun iscsiInterface fsType readOnly portals chapAuthDiscovery chapAuthSession secretRef" +
		" initiatorName",
	"v1.ImageVolumeSource":         "reference pullPolicy",
	"v1.KeyToPath":                 "key path mode user",
	"v1.LabelSelector":             "matchLabels matchExpressions",
	"v1.LabelSelectorRequirement":  "key operator values",
	"v1.Lifecycle":                 "postStart preStop stopSignal",
	"v1.LifecycleHandler":          "exec httpGet tcpSocket sleep",
	"v1.LocalObjectReference":      "name",
	"v1.NFSVolumeSource":           "server path readOnly",
	"v1.NodeAffinity":              "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
	"v1.NodeSelector":              "nodeSelectorTerms",
	"v1.NodeSelectorRequirement":   "key operator values",
	"v1.NodeSelectorTerm":          "matchExpressions matchFields",
	"v1.ObjectFieldSelector":       "apiVersion fieldPath",
	"v1.OpaqueDeviceConfiguration": "driver parameters",
	"v1.PersistentVolumeClaimSpec": "accessModes selector resources volumeName storageClassName volumeMode dataSource dataSourceRef" +
		" volumeAttributesClassName",
	"v1.PersistentVolumeClaimVolumeSource": "claimName readOnly",
	"v1.PhotonPersistentDiskVolumeSource":  "pdID fsType",
	"v1.PodAffinity":                       "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
	"v1.PodAffinityTerm":                   "labelSelector namespaces topologyKey namespaceSelector matchLabelKeys mismatchLabelKeys",
	"v1.PodAntiAffinity":                   "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution",
	"v1.PodCertificateProjection":          "credentialBundlePath keyPath certificateChainPath",
	"v1.PodCondition":                      "type observedGeneration status lastProbeTime lastTransitionTime reason message",
	"v1.PodDNSConfig":                      "nameservers searches options",
	"v1.PodDNSConfigOption":                "name value",
	"v1.PodOS":                             "name",
	"v1.PodReadinessGate":                  "conditionType",
	"v1.PodResourceClaim":                  "name resourceClaimName resourceClaimTemplateName",
	"v1.PodResourceClaimStatus":            "name resourceClaimName",
	"v1.PodSchedulingGate":                 "name",
	"v1.PodSecurityContext": "seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot supplementalGroups" +
		" supplementalGroupsPolicy fsGroup sysctls fsGroupChangePolicy seccompProfile appArmorProfile" +
		" seLinuxChangePolicy",
	"v1.PodSpec": "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds" +
		" activeDeadlineSeconds dnsPolicy nodeSelector nodeName hostNetwork hostPID hostIPC shareProcessNamespace" +
		" securityContext imagePullSecrets hostname affinity schedulerName tolerations hostAliases dnsConfig" +
		" readinessGates topologySpreadConstraints setHostnameAsFQDN os hostUsers schedulingGates resourceClaims" +
		" resources hostnameOverride",
	"v1.PortworxVolumeSource":    "volumeID fsType readOnly",
	"v1.PreferredSchedulingTerm": "weight preference",
	"v1.Probe": "exec httpGet tcpSocket grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold" +
		" failureThreshold terminationGracePeriodSeconds",
	"v1.ProjectedVolumeSource": "sources defaultMode defaultUser",
	"v1.QuobyteVolumeSource":   "registry volume readOnly user group tenant",
	"v1.RBDVolumeSource":       "monitors image fsType pool user keyring secretRef readOnly",
	"v1.ResourceClaim":         "name request",
	"v1.ResourceClaimSpec":     "devices",
	"v1.ResourceFieldSelector": "containerName resource divisor",
	"v1.ResourceRequirements":  "limits requests claims",
	"v1.SELinuxOptions":        "user role type level",
	"v1.ScaleIOVolumeSource":   "gateway system secretRef sslEnabled protectionDomain storagePool storageMode volumeName fsType readOnly",
	"v1.SeccompProfile":        "type localhostProfile",
	"v1.SecretEnvSource":       "name optional",
	"v1.SecretKeySelector":     "name key optional",
	"v1.SecretProjection":      "name items optional",
	"v1.SecretVolumeSource":    "secretName items defaultMode optional defaultUser",
	"v1.SecurityContext": "capabilities privileged seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot" +
		" readOnlyRootFilesystem allowPrivilegeEscalation procMount seccompProfile appArmorProfile",
	"v1.ServiceAccountTokenProjection": "path user",
	"v1.ServicePort":                   "name protocol appProtocol port targetPort nodePort",
	"v1.ServiceSpec": "ports selector clusterIP clusterIPs type sessionAffinity loadBalancerIP" +
		" loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses" +
		" sessionAffinityConfig ipFamilies ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass" +
		" internalTrafficPolicy trafficDistribution",
	"v1.SessionAffinityConfig": "clientIP",
	"v1.SleepAction":           "seconds",
	"v1.StorageOSVolumeSource": "volumeName volumeNamespace fsType readOnly secretRef",
	"v1.Sysctl":                "name value",
	"v1.TCPSocketAction":       "port host",
	"v1.Toleration":            "key operator value effect tolerationSeconds",
	"v1.TopologySpreadConstraint": "maxSkew topologyKey whenUnsatisfiable labelSelector minDomains nodeAffinityPolicy nodeTaintsPolicy" +
		" matchLabelKeys",
	"v1.TypedLocalObjectReference": "apiGroup kind name",
	"v1.TypedObjectReference":      "apiGroup kind name",
	"v1.Volume": "name hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs" +
		" persistentVolumeClaim rbd flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap" +
		" vsphereVolume quobyte azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi image",
	"v1.VolumeDevice":                   "name devicePath",
	"v1.VolumeMount":                    "name readOnly recursiveReadOnly mountPath subPath mountPropagation subPathExpr bindMountOptions",
	"v1.VolumeProjection":               "secret downwardAPI configMap serviceAccountToken clusterTrustBundle podCertificate",
	"v1.VolumeResourceRequirements":     "limits requests",
	"v1.VsphereVirtualDiskVolumeSource": "volumePath fsType storagePolicyName storagePolicyID",
	"v1.WeightedPodAffinityTerm":        "weight podAffinityTerm",
	"v1.WindowsSecurityContextOptions":  "gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess",
}
