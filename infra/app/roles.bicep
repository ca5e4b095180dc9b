// Every role that anybody gets, each with its reason. Deployed once for each resource group that has one of the
// resources: what is not named is not there. docs/deploying.md has the same as a table.
param appPrincipalId string

@description('Who operates the app; empty: nobody gets a role.')
param operatorPrincipalId string = ''
param operatorPrincipalType string = 'User'

param storageAccountName string = ''
param applicationInsightsName string = ''
param eventGridTopicName string = ''
param customVisionAccountName string = ''
param faceAccountName string = ''
param keyVaultName string = ''
param keyVaultSecretNames array = []

var roles = {
  storageBlobDataOwner: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b')
  storageQueueDataContributor: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '974c5e8b-45b9-4653-ba55-5f855dd0fb88')
  monitoringMetricsPublisher: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '3913510d-42f4-4e42-8a64-420c390055eb')
  eventGridDataSender: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'd5a91429-5739-47e2-a06b-3470a27159e7')
  customVisionLabeler: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '88424f51-ebe7-446f-bc41-7fa16989e96c')
  customVisionReader: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '93586559-c37d-4a6b-ba08-b9f0940c2d73')
  cognitiveServicesDataReader: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b59867f0-fa02-499b-be73-45a86b5b3e1c')
  keyVaultSecretsUser: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
}
var hasOperator = !empty(operatorPrincipalId)

// A name that is not given is replaced, since names are checked even where nothing is deployed.
resource storageAccount 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: empty(storageAccountName) ? 'none' : storageAccountName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: empty(applicationInsightsName) ? 'none' : applicationInsightsName
}

resource eventGridTopic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: empty(eventGridTopicName) ? 'none' : eventGridTopicName
}

resource customVision 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: empty(customVisionAccountName) ? 'none' : customVisionAccountName
}

resource face 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: empty(faceAccountName) ? 'none' : faceAccountName
}

resource keyVault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: empty(keyVaultName) ? 'none' : keyVaultName
}

resource keyVaultSecrets 'Microsoft.KeyVault/vaults/secrets@2023-07-01' existing = [
  for secretName in keyVaultSecretNames: {
    parent: keyVault
    name: secretName
  }
]

// The host keeps the timer's lease, its lock and its keys in blobs, and creates the containers for them; the package
// is read from one. This is the role that its documentation asks for; the account is this app's alone.
resource hostBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(storageAccountName)) {
  name: guid(storageAccount.id, appPrincipalId, roles.storageBlobDataOwner)
  scope: storageAccount
  properties: {
    roleDefinitionId: roles.storageBlobDataOwner
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Receive, renew, delete, put. Renewing a message's lease is a write, which the smaller roles (Message Processor,
// Message Sender) do not have together. All queues of the account are this app's.
resource queues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(storageAccountName)) {
  name: guid(storageAccount.id, appPrincipalId, roles.storageQueueDataContributor)
  scope: storageAccount
  properties: {
    roleDefinitionId: roles.storageQueueDataContributor
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Send telemetry: the component takes no keys.
resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(applicationInsightsName)) {
  name: guid(applicationInsights.id, appPrincipalId, roles.monitoringMetricsPublisher)
  scope: applicationInsights
  properties: {
    roleDefinitionId: roles.monitoringMetricsPublisher
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Publish events, where there is a topic.
resource topicEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(eventGridTopicName)) {
  name: guid(eventGridTopic.id, appPrincipalId, roles.eventGridDataSender)
  scope: eventGridTopic
  properties: {
    roleDefinitionId: roles.eventGridDataSender
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Write an image's metadata. Of the roles with that right this is the smallest: images and tags, no project, no training.
resource imageMetadata 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(customVisionAccountName)) {
  name: guid(customVision.id, appPrincipalId, roles.customVisionLabeler)
  scope: customVision
  properties: {
    roleDefinitionId: roles.customVisionLabeler
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Read a training's state. Face Recognizer does not have that right; this role reads and does nothing else.
resource trainingState 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(faceAccountName)) {
  name: guid(face.id, appPrincipalId, roles.cognitiveServicesDataReader)
  scope: face
  properties: {
    roleDefinitionId: roles.cognitiveServicesDataReader
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Read the one or two secrets that app settings refer to, and no others of the vault.
resource keys 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (secretName, index) in keyVaultSecretNames: {
    name: guid(keyVaultSecrets[index].id, appPrincipalId, roles.keyVaultSecretsUser)
    scope: keyVaultSecrets[index]
    properties: {
      roleDefinitionId: roles.keyVaultSecretsUser
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

// Send updates, look at the queues, redrive dead letters. Owning the subscription does not include that.
resource operatorQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(storageAccountName)) {
  name: guid(storageAccount.id, operatorPrincipalId, roles.storageQueueDataContributor)
  scope: storageAccount
  properties: {
    roleDefinitionId: roles.storageQueueDataContributor
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
}

// Compare what was sent with what the images have.
resource operatorImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(customVisionAccountName)) {
  name: guid(customVision.id, operatorPrincipalId, roles.customVisionReader)
  scope: customVision
  properties: {
    roleDefinitionId: roles.customVisionReader
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
}

// Ask whether Face answers.
resource operatorTrainings 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasOperator && !empty(faceAccountName)) {
  name: guid(face.id, operatorPrincipalId, roles.cognitiveServicesDataReader)
  scope: face
  properties: {
    roleDefinitionId: roles.cognitiveServicesDataReader
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
}
