// A Custom Vision training or Face account: a new one, or one that exists and is only read.
param name string
param create bool
param kind string
param location string
param tags object
param keysAllowed bool

resource created 'Microsoft.CognitiveServices/accounts@2024-10-01' = if (create) {
  // checkov:skip=CKV_AZURE_134: the app has no network of its own; tokens decide who comes in
  // checkov:skip=CKV_AZURE_236: keys are refused unless accountKeysAllowed asks for them
  // checkov:skip=CKV_AZURE_238: the account calls nobody, so it needs to be nobody
  name: name
  location: location
  tags: tags
  kind: kind
  sku: {
    name: 'S0'
  }
  properties: {
    customSubDomainName: name // without one, the service takes no tokens
    disableLocalAuth: !keysAllowed
    publicNetworkAccess: 'Enabled'
  }
}

resource found 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = if (!create) {
  name: name
}

output name string = create ? created.name : found.name
output endpoint string = create ? created!.properties.endpoint : found!.properties.endpoint
