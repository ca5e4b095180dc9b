// The optional Event Grid topic. Subscriptions belong to those who consume: docs/events.md has a command.
param name string
param location string
param tags object

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  // checkov:skip=CKV_AZURE_193: the app has no network of its own; tokens decide who comes in
  // checkov:skip=CKV_AZURE_191: who delivers to a queue or a dead-letter container with an identity adds one
  name: name
  location: location
  tags: tags
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    minimumTlsVersionAllowed: '1.2'
    publicNetworkAccess: 'Enabled'
  }
}

output name string = topic.name
output endpoint string = topic.properties.endpoint
